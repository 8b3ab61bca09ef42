// What is in view on the map, in the size of an image: its points as an image, the rest as text.
const SVG = "http://www.w3.org/2000/svg";
const LINE = 18; // pixels of a line of the legend
const EDGE = 12; // pixels around
const MOST_LINES = 4; // of a legend below the points
const SIGN = 18; // pixels of a colour and the gap to its name
const ROOM = { size: 13, small: 11 }; // of letters, where the legend lies beside the points and below

function drawnAs(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  if (text !== undefined) made.textContent = text;
  return made;
}

const measured = (size, bold = false) => {
  const context = document.createElement("canvas").getContext("2d");
  context.font = `${bold ? "600 " : ""}${size}px sans-serif`;
  return (text) => context.measureText(text).width;
};

/** What colours mean: of an amount its ends and its middle, of groups the largest first. */
function meanings({ colours }) {
  if (!colours.amount) {
    const all = colours.entries.map(({ name, count }, code) => ({ name, count, colour: colours.colours[code] })).filter((one) => one.count);
    return all.length > MANY ? all.sort((a, b) => b.count - a.count) : all;
  }
  const ends = [0, Math.floor((colours.ramp.length - 1) / 2), colours.ramp.length - 1];
  return ends.map((at, place) => ({ colour: colours.ramp[at], name: colours.ticks[place] ?? "" }));
}

function cut(text, most, width) {
  if (width(text) <= most) return text;
  let end = text.length;
  while (end > 1 && width(`${text.slice(0, end)}…`) > most) end--;
  return `${text.slice(0, end)}…`;
}

/** Where the title and each meaning stand: below one another, or in lines that are filled; what has
 * no room is counted. */
function legendOf(map, { wide, lines, size, filled }) {
  const width = measured(size);
  const all = meanings(map);
  const placed = [{ name: cut(map.colours.title, wide, measured(size, true)), x: 0, line: 0 }];
  let [x, line] = [0, 1];
  for (const [at, one] of all.entries()) {
    const name = cut(one.name, wide - SIGN, width);
    const taken = SIGN + width(name) + 14;
    if (!filled && at) line++;
    if (filled && x && x + taken - 14 > wide) [x, line] = [0, line + 1];
    const rest = all.length - at;
    const last = line === lines && rest > 1 && (!filled || x + taken + width(`and ${rest - 1} more`) > wide);
    if (line > lines || last) {
      placed.push({ name: `and ${rest} more`, x, line: Math.min(line, lines) });
      break;
    }
    placed.push({ name, colour: one.colour, x, line });
    if (filled) x += taken;
  }
  return { placed, lines: Math.max(...placed.map((one) => one.line)) + 1 };
}

/** The same part of the map, of another size on the screen. */
function viewOf(map, { left, width, height }) {
  const { clientWidth, clientHeight } = map.canvas;
  const [[west, north], [east, south]] = [map.onMap([map.inset, 0]), map.onMap([clientWidth, clientHeight])];
  const unit = Math.min((width - left) / (east - west), height / (north - south));
  const middle = [(west + east) / 2 - left / 2 / unit, (north + south) / 2];
  const zoom = map.zoom;
  return Object.create(map, Object.fromEntries(Object.entries({
    canvas: { clientWidth: width, clientHeight: height }, middle, unit, zoom, moving: false,
  }).map(([key, value]) => [key, { value, writable: true }])));
}

/** The largest clusters first: a label that would lie on another or over the edge is left out. */
function labelsOf(view, { size, left }) {
  const width = measured(size);
  const { clientWidth, clientHeight } = view.canvas;
  const taken = [];
  return view.told.labels.flatMap(({ cluster, words, x, y }) => {
    const text = [cluster, ...words].join("  ");
    const [middle, at] = view.onScreen([x, y]);
    const box = [middle - width(text) / 2 - 3, at - size / 2 - 2, middle + width(text) / 2 + 3, at + size / 2 + 2];
    const inside = box[0] > left && box[1] > 2 && box[2] < clientWidth - 2 && box[3] < clientHeight - 2;
    if (!inside || taken.some((one) => box[0] < one[2] && one[0] < box[2] && box[1] < one[3] && one[1] < box[3])) return [];
    taken.push(box);
    return [{ text, x: middle, y: at + size * 0.35 }];
  });
}

function asSvg(map, { width, height: least, scale }, ground) {
  const ink = getComputedStyle(map.root).color;
  const beside = width > ROOMY;
  const size = beside ? ROOM.size : ROOM.small;
  const longest = Math.max(...[map.colours.title, ...meanings(map).map((one) => one.name)].map(measured(size, true)));
  const left = beside ? Math.round(Math.min(0.3 * width, Math.max(150, longest + SIGN + 2 * EDGE))) : 0; // of a legend there
  const wide = (beside ? left : width) - 2 * EDGE;
  const lines = beside ? Math.floor((least - 2 * EDGE) / LINE) - 1 : MOST_LINES;
  const legend = legendOf(map, { wide, lines, size, filled: !beside });
  const points = beside ? least : Math.max(least, Math.round(0.85 * width)); // pixels of their height
  const height = beside ? least : points + legend.lines * LINE + EDGE;
  const made = drawnAs("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`, "font-family": "sans-serif", "font-size": size, fill: ink });
  made.append(drawnAs("rect", { width, height, fill: ground }));
  const view = viewOf(map, { left, width, height: points });
  made.append(drawnAs("image", { width, height: points, href: view.picture(scale) }));
  map.paint();
  const corners = read(map.told.area ?? "").map((corner) => view.onScreen(corner).map((part) => part.toFixed(1)).join(","));
  if (corners.length) made.append(drawnAs("polygon", { points: corners.join(" "), fill: "none", stroke: ink }));
  const halo = { stroke: ground, "stroke-width": 3, "paint-order": "stroke", "stroke-linejoin": "round" };
  for (const { text, x, y } of labelsOf(view, { size, left })) made.append(drawnAs("text", { x, y, "text-anchor": "middle", ...halo }, text));
  const top = beside ? EDGE : points;
  if (!beside) made.append(drawnAs("rect", { y: points, width, height: height - points, fill: ground }));
  for (const { name, colour, x, line } of legend.placed) {
    const y = top + line * LINE + size;
    if (colour) made.append(drawnAs("rect", { x: EDGE + x, y: y - size + 2, width: 11, height: 11, rx: 3, fill: colour }));
    made.append(drawnAs("text", { x: EDGE + x + (colour ? SIGN : 0), y, "font-weight": line ? 400 : 600 }, name));
  }
  return { svg: new XMLSerializer().serializeToString(made), height };
}
