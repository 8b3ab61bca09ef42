// The map as it is looked at, as a file: its points as an image, its labels and what colours mean as text.
const SVG = "http://www.w3.org/2000/svg";
const FINER = 2; // pixels of a PNG to each on the page
const LINE = 19; // pixels of a line of the legend

function drawnAs(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  if (text !== undefined) made.textContent = text;
  return made;
}

function asSvg(map) {
  const { clientWidth: width, clientHeight: height } = map.canvas;
  const style = getComputedStyle(map.root);
  const ink = style.color;
  const made = drawnAs("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`, "font-family": "sans-serif", "font-size": 13, fill: ink });
  made.append(drawnAs("rect", { width, height, fill: style.getPropertyValue("--st-background-color") }));
  map.moving = false;
  map.paint(); // what is read of a canvas is what was painted in this very moment
  made.append(drawnAs("image", { width, height, href: map.canvas.toDataURL("image/png") }));
  const corners = map.part("area").getAttribute("points");
  if (corners) made.append(drawnAs("polygon", { points: corners, fill: "none", stroke: ink }));
  const halo = { stroke: style.getPropertyValue("--st-background-color"), "stroke-width": 4, "paint-order": "stroke", "stroke-linejoin": "round" };
  [...map.part("labels").children].forEach((label, at) => {
    if (label.classList.contains("covered")) return;
    const { cluster, words, x, y } = map.told.labels[at];
    const [left, top] = map.onScreen([x, y]);
    made.append(drawnAs("text", { x: left, y: top + 4, "text-anchor": "middle", ...halo }, [cluster, ...words].join("  ")));
  });
  legendLines(map).forEach(([colour, words], at) => {
    const y = 26 + at * LINE;
    if (colour) made.append(drawnAs("rect", { x: 14, y: y - 11, width: 12, height: 12, rx: 3, fill: colour }));
    made.append(drawnAs("text", { x: colour ? 32 : 14, y, "font-weight": at ? 400 : 600, ...halo }, words));
  });
  return new XMLSerializer().serializeToString(made);
}

/** What colours mean, a line each: of an amount its ends and its middle. */
function legendLines({ colours }) {
  const head = [["", colours.title]];
  if (!colours.amount) return [...head, ...colours.entries.flatMap(({ name, count }, code) => (count ? [[colours.colours[code], name]] : []))];
  const ends = [0, Math.floor((colours.ramp.length - 1) / 2), colours.ramp.length - 1];
  return [...head, ...ends.map((at, place) => [colours.ramp[at], colours.ticks[place] ?? ""])];
}

function saveImage(map, format) {
  const { clientWidth: width, clientHeight: height } = map.canvas;
  return saveSvg(asSvg(map), { name: map.told.file, format, width, height, scale: FINER });
}
