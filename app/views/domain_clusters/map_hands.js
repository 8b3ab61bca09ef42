// Pointers, wheel, keys and buttons. Everything that a pointer does a key does too.
const TWICE = 250; // milliseconds in which a second click makes a double one
const KEYS = {
  ArrowLeft: (map) => map.panBy(60, 0),
  ArrowRight: (map) => map.panBy(-60, 0),
  ArrowUp: (map) => map.panBy(0, 60),
  ArrowDown: (map) => map.panBy(0, -60),
  "+": (map) => map.zoomBy(1.5),
  "=": (map) => map.zoomBy(1.5),
  "-": (map) => map.zoomBy(1 / 1.5),
  0: (map) => map.reset(),
  l: (map) => map.selectVisible(),
  Enter: (map) => {
    if (map.point < 0) map.hoverMiddle();
    map.open(map.point);
  },
  Escape: (map) => map.clear(),
};

PointMap.prototype.reset = function () {
  this.fit();
  this.moveTo(this.middle);
};

PointMap.prototype.watch = function () {
  const { canvas } = this;
  const down = new Map(); // pointers by id: where each is
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  let [travelled, opening, pressed] = [0, 0, null]; // pressed: the cluster of a label
  this.press = (event, cluster = null) => {
    if (event.button || !this.points) return;
    pressed = cluster;
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    travelled = 0;
    clearTimeout(opening);
    if (down.size === 1 && (this.lassoing || event.shiftKey)) this.drawing = [this.onMap(at(event))];
    else this.drawing = null; // a second finger zooms
  };
  canvas.onpointerdown = (event) => this.press(event);
  canvas.onpointermove = (event) => {
    if (!down.has(event.pointerId)) return this.hover(...at(event));
    const [before, now] = [down.get(event.pointerId), at(event)];
    const moved = [now[0] - before[0], now[1] - before[1]];
    travelled += Math.hypot(...moved);
    if (travelled < 3) return;
    down.set(event.pointerId, now);
    if (this.drawing) {
      this.drawing.push(this.onMap(now));
      this.outline();
    } else if (down.size > 1) {
      const other = [...down.entries()].find(([id]) => id !== event.pointerId)[1];
      const apart = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
      this.zoomBy(apart(now) / apart(before), now.map((part, axis) => (part + other[axis]) / 2));
    } else {
      this.meet(-1);
      this.panBy(...moved);
    }
    this.hinted();
  };
  canvas.onpointerup = canvas.onpointercancel = (event) => {
    if (!down.delete(event.pointerId)) return;
    const outline = this.drawing;
    this.drawing = null;
    if (outline && travelled >= 3) {
      this.lassoing = false;
      if (event.type === "pointerup") this.select(outline);
      this.outline();
    } else if (travelled < 3 && event.type === "pointerup" && pressed !== null) {
      this.send("cluster", pressed);
    } else if (travelled < 3 && event.type === "pointerup") {
      this.hover(...at(event));
      const point = this.point;
      opening = setTimeout(() => this.open(point), TWICE);
    }
  };
  canvas.onpointerleave = () => this.meet(-1);
  canvas.ondblclick = (event) => {
    clearTimeout(opening);
    this.zoomBy(2, at(event));
  };
  canvas.onwheel = this.part("labels").onwheel = (event) => {
    event.preventDefault();
    this.hinted();
    this.zoomBy(2 ** (-event.deltaY * (event.deltaMode ? 0.05 : 0.0022)), at(event));
    this.hover(...at(event));
  };
  canvas.onkeydown = (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!KEYS[key] || event.ctrlKey || event.metaKey || event.altKey || !this.points) return;
    event.preventDefault();
    event.stopPropagation(); // Streamlit has keys of its own
    this.hinted();
    KEYS[key](this);
    if (key.startsWith("Arrow") || "+-=0".includes(key)) this.hoverMiddle();
  };
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => {
    this.painter = new Painter(canvas);
    this.ids = {};
    this.show(this.told, this.send);
  });
  const press = (name, act) => (this.part(name).onclick = () => this.points && act());
  press("closer", () => this.zoomBy(1.5));
  press("further", () => this.zoomBy(1 / 1.5));
  press("whole", () => this.reset());
  press("visible", () => this.selectVisible());
  press("clear", () => this.clear());
  press("lasso", () => {
    this.lassoing = !this.lassoing;
    this.outline();
  });
  this.arrived = () => this.told && this.show(this.told, this.send);
  globalThis.addEventListener(ARRIVED, this.arrived);
  this.sized = new ResizeObserver(() => this.draw());
  this.sized.observe(canvas);
};

PointMap.prototype.end = function () {
  globalThis.removeEventListener(ARRIVED, this.arrived);
  this.sized.disconnect();
  this.painter.gl.getExtension("WEBGL_lose_context")?.loseContext();
};
