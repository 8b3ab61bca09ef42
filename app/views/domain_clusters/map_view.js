// One map: what is seen of it, and what keys, pointers and buttons do. Texts only ever become textContent.
const NEAR = 9; // pixels from a point that is met
const CONTEXT = 9; // tokens before and after
const ROOMY = 640; // pixels of width, in which the legend lies beside the points
const MOST_ZOOM = 400;
const REST = 140; // milliseconds without a move until all points are drawn again
const HINTED = "routescope-map-hinted";

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

class PointMap {
  constructor(root) {
    this.root = root;
    this.part = (name) => root.querySelector(`.${name}`);
    this.canvas = root.querySelector("canvas");
    this.painter = new Painter(this.canvas);
    Object.assign(this, { only: -1, point: -1, drawing: null, lassoing: false, ids: {}, middle: null });
    this.watch();
  }

  /** Anew from the server: nothing is drawn until all parcels that it names are there. */
  show(told, send) {
    Object.assign(this, { told, send });
    const parcels = Object.fromEntries(["points", "colours", "chosen"].map((kind) => [kind, PARCELS.get(told[kind])]));
    if (Object.values(parcels).some((parcel) => !parcel)) return;
    const fresh = (kind) => this.ids[kind] !== told[kind];
    if (fresh("points")) {
      Object.assign(this, { points: parcels.points, index: indexed(parcels.points), only: -1, middle: null });
      this.painter.setPoints(this.points);
    }
    if (fresh("points") || fresh("colours")) {
      if (this.colours?.title !== parcels.colours.title) this.only = -1;
      this.colours = parcels.colours;
      this.painter.setColours(this.colours);
      showLegend(this);
    }
    if (fresh("points") || fresh("chosen")) {
      this.chosen = unpackedBits(parcels.chosen.bits, this.points.x.length);
      this.painter.setChosen(this.chosen);
    }
    this.countLit();
    this.ids = { points: told.points, colours: told.colours, chosen: told.chosen };
    this.showClear();
    showLabels(this);
    this.hint(told.hint);
    this.nowhere = false;
    this.meet(-1);
    this.draw();
    this.root.dataset.drawn = Object.values(this.ids).join(" ");
  }

  fit() {
    const [left, bottom, right, top] = this.points.bounds;
    this.zoom = 1;
    this.middle = [(left + right - this.inset / this.unit) / 2, (bottom + top) / 2];
  }

  /** Pixels on the left that the legend takes, where there is room beside it. */
  get inset() {
    return this.canvas.clientWidth > ROOMY ? this.part("legend").offsetWidth : 0;
  }

  /** Pixels a unit of the map's square. */
  get unit() {
    const [left, bottom, right, top] = this.points.bounds;
    const { clientWidth, clientHeight } = this.canvas;
    return this.zoom * 0.92 * Math.min((clientWidth - this.inset) / (right - left), clientHeight / (top - bottom));
  }

  onScreen([x, y]) {
    const { clientWidth, clientHeight } = this.canvas;
    return [clientWidth / 2 + (x - this.middle[0]) * this.unit, clientHeight / 2 - (y - this.middle[1]) * this.unit];
  }

  onMap([x, y]) {
    const { clientWidth, clientHeight } = this.canvas;
    return [this.middle[0] + (x - clientWidth / 2) / this.unit, this.middle[1] - (y - clientHeight / 2) / this.unit];
  }

  zoomBy(factor, at = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2]) {
    const kept = this.onMap(at);
    this.zoom = Math.max(0.5, Math.min(MOST_ZOOM, this.zoom * factor));
    const now = this.onMap(at);
    this.moveTo([this.middle[0] + kept[0] - now[0], this.middle[1] + kept[1] - now[1]]);
  }

  panBy(x, y) {
    this.moveTo([this.middle[0] - x / this.unit, this.middle[1] + y / this.unit]);
  }

  moveTo(middle) {
    this.middle = middle.map((part) => Math.max(0, Math.min(SIDE, part)));
    this.moving = true;
    this.draw();
  }

  /** All points again, once the view rests. */
  rested() {
    this.moving = false;
    this.draw();
  }

  draw() {
    if (this.asked || !this.points) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = null;
      this.paint();
    });
  }

  paint() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    if (!this.middle) this.fit();
    const dense = Math.min(devicePixelRatio, this.points.x.length > 200_000 ? 1.5 : 2);
    this.paintPoints(dense);
    placeLabels(this);
    this.outline();
    clearTimeout(this.rest);
    if (this.moving) this.rest = setTimeout(() => this.rested(), REST); // from when it is seen: it may take long
    else this.sayWhereNoneIs();
    if (this.point >= 0) this.place(this.point);
    const { marked } = this.told;
    this.part("mark").hidden = marked < 0;
    if (marked >= 0) this.moveOver("mark", marked);
  }

  /** With so many pixels to each of the screen. */
  paintPoints(dense) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.painter.resize(Math.round(width * dense), Math.round(height * dense));
    const scale = [(2 * SIDE * this.unit) / width, (2 * SIDE * this.unit) / height];
    const shift = this.middle.map((part, axis) => (-part / SIDE) * scale[axis]);
    const grey = channels(this.told.neutral).map((part) => part / 255);
    const [all, lit] = [this.points.x.length, this.litCount].map((count) => this.dots(count, dense));
    this.painter.paint({ scale, shift, all, lit, only: this.only, grey, moving: this.moving });
  }

  /** Read of the canvas in the very moment in which it was painted. */
  picture(dense) {
    this.paintPoints(dense);
    return this.painter.canvas.toDataURL("image/png");
  }

  /** How large so many points are, and how many of them lie on one another on average. */
  dots(count, dense) {
    const { clientWidth, clientHeight } = this.canvas;
    const base = 8 - 1.9 * (Math.log10(count + 1) - 2.7);
    const screen = Math.max(0.75, Math.min(clientWidth, clientHeight) / 800);
    const size = Math.max(1.6, Math.min(9, base)) * Math.min(2.2, this.zoom ** 0.3) * screen;
    return { size: size * dense, overlap: (count * size * size) / (0.5 * (SIDE * this.unit) ** 2) };
  }

  moveOver(name, point) {
    const [x, y] = this.onScreen([this.points.x[point], this.points.y[point]]);
    this.part(name).style.transform = `translate(${x}px, ${y}px)`;
    return [x, y];
  }

  /** The area that is chosen, or the line that is being drawn. */
  outline() {
    const corners = this.drawing ?? read(this.told.area ?? "");
    const shown = corners.map((corner) => this.onScreen(corner).map((part) => part.toFixed(1)).join(","));
    this.part("area").setAttribute("points", shown.join(" "));
    this.part("stage").classList.toggle("lassoing", this.lassoing);
    this.part("lasso").setAttribute("aria-pressed", this.lassoing);
  }

  /** Whether a point can be met: those that others stand out from cannot. */
  lit(point) {
    return (!this.chosen || this.chosen[point]) && (this.only < 0 || this.colours.code[point] === this.only);
  }

  countLit() {
    this.litCount = this.points.x.length;
    if (!this.chosen && this.only < 0) return;
    this.litCount = 0;
    for (let point = 0; point < this.points.x.length; point++) if (this.lit(point)) this.litCount++;
  }

  hover(x, y, pixels = NEAR) {
    if (!this.points || this.drawing) return;
    const [at, up] = this.onMap([x, y]);
    this.meet(nearest(this.points, this.index, at, up, pixels / this.unit, (point) => this.lit(point)));
  }

  /** For keys: the point nearest to the middle, as far as it is in view. */
  hoverMiddle() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.hover(width / 2, height / 2, Math.min(width, height) / 2);
  }

  meet(point) {
    if (point === this.point) return;
    this.point = point;
    this.part("tip").hidden = this.part("ring").hidden = point < 0;
    this.canvas.style.cursor = point < 0 ? "" : "pointer";
    if (point < 0) return;
    this.part("tip").replaceChildren(...told(this, point));
    this.place(point);
  }

  place(point) {
    const [x, y] = this.moveOver("ring", point);
    const tip = this.part("tip");
    const left = Math.max(8, Math.min(x - tip.offsetWidth / 2, this.canvas.clientWidth - tip.offsetWidth - 8));
    const top = y > tip.offsetHeight + 24 ? y - tip.offsetHeight - 14 : y + 16;
    tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  open(point) {
    if (point >= 0) this.send("point", point);
  }

  select(outline) {
    if (outline.length > 2) this.send("area", written(simplified(outline)));
  }

  selectVisible() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.select([[0, 0], [width, 0], [width, height], [0, height]].map((corner) => this.onMap(corner)));
  }

  /** Wherever there is anything to clear. */
  showClear() {
    this.part("clear").hidden = !this.told.area && this.told.cluster === null && this.only < 0;
  }

  clear() {
    Object.assign(this, { drawing: null, lassoing: false });
    if (this.only >= 0) showAlone(this, -1);
    if (this.told.area || this.told.cluster !== null) this.send("area", "");
    else this.outline();
  }

  /** Where no point is in view: how to come back. */
  sayWhereNoneIs() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [x, y] = this.onMap([width / 2, height / 2]);
    const none = nearest(this.points, this.index, x, y, Math.hypot(width, height) / 2 / this.unit, () => true) < 0;
    if (none === this.nowhere) return;
    this.nowhere = none;
    if (none) Object.assign(this.part("hint"), { textContent: this.told.nowhere, hidden: false });
    else this.hint(this.told.hint);
  }

  /** Said until somebody has moved the map or drawn on it. */
  hint(text) {
    const hint = this.part("hint");
    hint.textContent = text;
    try {
      hint.hidden = localStorage.getItem(HINTED) === "yes";
    } catch {
      hint.hidden = false; // a browser that keeps nothing
    }
  }

  hinted() {
    if (!this.nowhere) this.part("hint").hidden = true;
    try {
      localStorage.setItem(HINTED, "yes");
    } catch {
      return; // it will be said again
    }
  }
}
