// Points added up into colours and counts a pixel, so that none lies on top by chance; then laid on the page.
const POINTS = `#version 300 es
in vec2 place; in uint code; in uint chosen;
uniform vec2 scale, shift; uniform float size; uniform int part, only; uniform bool some;
uniform sampler2D palette;
out vec3 colour;
void main() {
  bool lit = (!some || chosen == 1u) && (only < 0 || int(code) == only);
  gl_Position = part == 0 || lit == (part == 1) ? vec4(place * scale + shift, 0, 1) : vec4(2, 2, 2, 1);
  gl_PointSize = size;
  colour = texelFetch(palette, ivec2(int(code) & 255, int(code) >> 8), 0).rgb;
}`;
const DOT = `#version 300 es
precision highp float;
in vec3 colour; uniform float size, weight; out vec4 sum;
void main() {
  float inside = size < 2.5 ? 1.0 : clamp((0.5 - length(gl_PointCoord - 0.5)) * size + 0.5, 0.0, 1.0);
  if (inside <= 0.0) discard;
  sum = vec4(colour, 1) * inside * weight;
}`;
const SCREEN = `#version 300 es
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1, 0, 1); }`;
const LAID = `#version 300 es
precision highp float;
uniform sampler2D sums; uniform float most, least, strength, faded; uniform vec3 grey; out vec4 shown;
void main() {
  vec4 sum = texelFetch(sums, ivec2(gl_FragCoord.xy), 0);
  if (sum.a <= 0.0) discard;
  float opacity = least + (1.0 - least) * min(1.0, log2(1.0 + sum.a) / log2(1.0 + most));
  opacity *= min(1.0, sum.a) * strength;
  shown = vec4(mix(sum.rgb / sum.a, grey, faded) * opacity, opacity);
}`;
const AT_ONCE = 120_000; // points while the view moves
const BEHIND = 300_000; // points at most, of those that others stand out from
const PALETTE = 256; // colours a row

const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

class Painter {
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: false, depth: false, premultipliedAlpha: true });
    if (!gl || !(gl.getExtension("EXT_color_buffer_float") || gl.getExtension("EXT_color_buffer_half_float"))) {
      throw new Error("no WebGL 2");
    }
    Object.assign(this, { gl, canvas, buffers: {}, some: false });
    this.points = this.program(POINTS, DOT);
    this.screen = this.program(SCREEN, LAID);
    this.palette = gl.createTexture();
    this.sums = gl.createTexture();
    this.frame = gl.createFramebuffer();
  }

  program(vertex, fragment) {
    const { gl } = this;
    const made = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(made, shader);
    }
    gl.linkProgram(made);
    if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
    const known = {};
    for (let at = 0; at < gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS); at++) {
      const { name } = gl.getActiveUniform(made, at);
      known[name] = gl.getUniformLocation(made, name);
    }
    return { made, at: known };
  }

  fill(name, values) {
    const { gl } = this;
    this.buffers[name] ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
  }

  setPoints({ x, y }) {
    const place = new Uint16Array(2 * x.length);
    for (let point = 0; point < x.length; point++) {
      place[2 * point] = x[point];
      place[2 * point + 1] = y[point];
    }
    this.count = x.length;
    this.fill("place", place);
  }

  setColours({ code, colours }) {
    const { gl } = this;
    this.codeBytes = code.BYTES_PER_ELEMENT;
    this.fill("code", code);
    const rows = Math.ceil(colours.length / PALETTE);
    const texels = new Uint8Array(4 * PALETTE * rows);
    colours.forEach((colour, at) => texels.set([...channels(colour), 255], 4 * at));
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, PALETTE, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, texels);
    this.unfiltered();
  }

  /** A byte a point, or null: all are alike. */
  setChosen(chosen) {
    this.some = chosen !== null;
    this.fill("chosen", chosen ?? new Uint8Array(this.count));
  }

  unfiltered() {
    const { gl } = this;
    for (const which of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, which, gl.NEAREST);
  }

  resize(width, height) {
    const { gl, canvas } = this;
    if (canvas.width === width && canvas.height === height && this.sized) return;
    Object.assign(canvas, { width, height });
    this.sized = true;
    gl.bindTexture(gl.TEXTURE_2D, this.sums);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA16F, width, height, 0, gl.RGBA, gl.HALF_FLOAT, null);
    this.unfiltered();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.sums, 0);
  }

  /** Scale and shift lead from the map's square to the screen; `all` and `lit` are dots; `moving`: some of many points will do. */
  paint({ scale, shift, all, lit, only, grey, moving }) {
    const { gl } = this;
    const some = (most) => Math.min(60, Math.max(1, Math.ceil(this.count / most)));
    const step = moving ? some(AT_ONCE) : 1;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const aside = this.some || only >= 0;
    const parts = aside ? [[2, all, 0.22, 0.75], [1, lit, 1, 0]] : [[0, all, 1, 0]];
    for (const [part, dots, strength, faded] of parts) {
      const every = part === 2 ? Math.max(step, some(BEHIND)) : step;
      this.addUp({ scale, shift, size: dots.size, part, only, step: every });
      this.lay({ strength, faded, grey, most: Math.max(1, 4 * dots.overlap) });
    }
  }

  addUp({ scale, shift, size, part, only, step }) {
    const { gl, points } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(points.made);
    const attribute = (name, set) => {
      const at = gl.getAttribLocation(points.made, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.enableVertexAttribArray(at);
      set(at);
    };
    attribute("place", (at) => gl.vertexAttribPointer(at, 2, gl.UNSIGNED_SHORT, true, 4 * step, 0));
    const kind = this.codeBytes === 2 ? gl.UNSIGNED_SHORT : gl.UNSIGNED_BYTE;
    attribute("code", (at) => gl.vertexAttribIPointer(at, 1, kind, this.codeBytes * step, 0));
    attribute("chosen", (at) => gl.vertexAttribIPointer(at, 1, gl.UNSIGNED_BYTE, step, 0));
    gl.uniform2f(points.at.scale, ...scale);
    gl.uniform2f(points.at.shift, ...shift);
    gl.uniform1f(points.at.size, size);
    gl.uniform1f(points.at.weight, Math.sqrt(step)); // fewer points, not quite as much heavier
    gl.uniform1i(points.at.part, part);
    gl.uniform1i(points.at.only, only);
    gl.uniform1i(points.at.some, this.some ? 1 : 0);
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE);
    gl.drawArrays(gl.POINTS, 0, Math.floor(this.count / step) || this.count);
  }

  lay({ strength, faded, grey, most }) {
    const { gl, screen } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.useProgram(screen.made);
    gl.bindTexture(gl.TEXTURE_2D, this.sums);
    gl.uniform1f(screen.at.most, most);
    gl.uniform1f(screen.at.least, 0.3);
    gl.uniform1f(screen.at.strength, strength * 0.95);
    gl.uniform1f(screen.at.faded, faded);
    gl.uniform3f(screen.at.grey, ...grey);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    for (let at = 0; at < 3; at++) gl.disableVertexAttribArray(at);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
