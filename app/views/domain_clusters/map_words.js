// What is said on a map: the point that is met, the clusters, and what colours mean.
const MANY = 12; // entries: more are shown by their size

function told(map, point) {
  const { points, colours } = map;
  const lines = [];
  if (points.details) {
    lines.push(element("b", "", points.words[points.text[point]]), element("span", "", points.details[point]));
  } else {
    lines.push(inContext(points, point), element("span", "", whereabouts(points, point)));
  }
  const code = colours.code[point];
  const value = colours.amount ? amount(colours, code) : colours.entries[code].name;
  if (!lines.some((line) => line.textContent.includes(value))) lines.push(element("span", "", `${colours.title}: ${value}`));
  return lines;
}

/** A token among its neighbours of the same text. */
function inContext(points, point) {
  const run = runOf(points, point);
  const [first, end] = [points.run_start[run], points.run_start[run + 1] ?? points.text.length];
  const word = (at) => points.words[points.text[at]];
  const line = element("q");
  const add = (from, to) => {
    let text = "";
    for (let at = Math.max(first, from); at < Math.min(end, to); at++) text += word(at);
    line.append(element("span", "", text));
  };
  add(point - CONTEXT, point);
  line.append(element("b", "", word(point)));
  add(point + 1, point + 1 + CONTEXT);
  return line;
}

function whereabouts(points, point) {
  const run = runOf(points, point);
  const position = points.run_position[run] + point - points.run_start[run];
  return `${points.domains[points.run_domain[run]]}, text ${points.run_doc[run]}, token ${position}`;
}

function amount({ low, high, steps }, code) {
  return code === steps ? "unknown" : (low + ((high - low) * code) / (steps - 1)).toPrecision(3);
}

function showLabels(map) {
  const labels = map.told.labels.map((label) => {
    const made = element("button", "label");
    made.append(element("i", "", String(label.cluster)));
    label.words.forEach((word) => made.append(element("span", "", word)));
    made.title = `cluster ${label.cluster}: ${label.size.toLocaleString("en")} ${map.told.what}`;
    made.setAttribute("aria-pressed", label.cluster === map.told.cluster);
    made.onpointerdown = (event) => map.press(event, label.cluster); // the map is moved from here too
    made.onclick = (event) => event.detail || map.send("cluster", label.cluster); // with a key
    return made;
  });
  map.part("labels").replaceChildren(...labels);
}

/** At their clusters, the largest first; one that would lie on another is left out until there is room. */
function placeLabels(map) {
  const taken = [map.part("legend"), map.part("tools")].map((one) => [one.offsetLeft, one.offsetTop, one.offsetWidth, one.offsetHeight]);
  const { clientWidth, clientHeight } = map.canvas;
  [...map.part("labels").children].forEach((made, at) => {
    const label = map.told.labels[at];
    const [x, y] = map.onScreen([label.x, label.y]);
    const [width, height] = [made.offsetWidth, made.offsetHeight];
    const box = [x - width / 2, y - height / 2, width, height];
    const inside = box[0] > 2 && box[1] > 2 && box[0] + width < clientWidth - 2 && box[1] + height < clientHeight - 2;
    const free = taken.every(([left, top, wide, high]) =>
      box[0] > left + wide + 3 || left > box[0] + width + 3 || box[1] > top + high + 2 || top > box[1] + height + 2);
    const shown = inside && free;
    made.classList.toggle("covered", !shown);
    made.style.transform = `translate(${Math.round(box[0])}px, ${Math.round(box[1])}px)`;
    if (shown) taken.push(box);
  });
}

function showLegend(map) {
  const { colours } = map;
  const head = element("h4", "", colours.title);
  if (colours.amount) {
    const bar = element("div", "ramp");
    bar.style.background = `linear-gradient(to right, ${colours.ramp.join(", ")})`;
    const ticks = element("div", "ticks");
    colours.ticks.forEach((tick) => ticks.append(element("span", "", tick)));
    map.part("legend").replaceChildren(head, bar, ticks);
    return;
  }
  const list = element("div", "entries");
  const entries = colours.entries.map((entry, code) => ({ ...entry, code })).filter((entry) => entry.count);
  if (entries.length > MANY) entries.sort((a, b) => b.count - a.count);
  entries.forEach(({ name, count, share, code }) => {
    const made = element("button", "entry");
    made.dataset.code = code;
    const swatch = element("i");
    swatch.style.background = colours.colours[code];
    made.append(swatch, element("span", "", name), element("small", "", share));
    made.title = `${name}: ${count.toLocaleString("en")}; click to see these alone`;
    made.onclick = () => showAlone(map, map.only === code ? -1 : code);
    list.append(made);
  });
  map.part("legend").replaceChildren(head, list);
  pressAlone(map);
}

const pressAlone = (map) =>
  map.part("legend").querySelectorAll(".entry").forEach((one) => one.setAttribute("aria-pressed", Number(one.dataset.code) === map.only));

/** The points of one entry stand out; -1: all do. */
function showAlone(map, code) {
  map.only = code;
  map.countLit();
  pressAlone(map);
  map.showClear();
  map.draw();
}
