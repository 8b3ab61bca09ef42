// Images of a figure on the page, drawn by the library that drew it, and the link to the page.
const PLOT = 240; // pixels of the layout that the marks of a figure have at least, beside its margins
const BESIDE = 24; // pixels: an annotation so far off stands in a column beside the plot
const NAMES = 100; // pixels of names on an axis
const TIGHT = 1.25; // times its width, from which an image of columns is made smaller: letters stay legible
const LINE_OF_TICKS = 14; // pixels
const LEAST_IN_CELLS = 6; // pixels of letters
const button = (text, className, onclick) => {
  const made = document.createElement("button");
  made.textContent = text;
  made.className = className;
  made.onclick = onclick;
  return made;
};

const axesOf = (layout) => Object.entries(layout).filter(([name]) => /^[xy]axis/.test(name));

/** Pixels of the longest line, in an image; what is bold may take a little more. */
function wordsWide(text, size) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = `${size}px ${FONT}`;
  const lines = String(text).split(/<br ?\/?>/).map((line) => line.replace(/<[^>]*>/g, ""));
  return 1.06 * Math.max(...lines.map((line) => context.measureText(line).width));
}

const namesOn = (axis) => (axis.ticktext?.length ? axis.ticktext : Object.values(axis.labelalias ?? {}));

/** How much wider words are in the font of an image than in the one of the page. */
function wider(font) {
  const words = "share of choices significant 0123456789%";
  const context = document.createElement("canvas").getContext("2d");
  const [ours, theirs] = [FONT, font.family].map((family) => {
    context.font = `${font.size}px ${family}`;
    return context.measureText(words).width;
  });
  return Math.max(1, ours / theirs);
}

/** Columns beside the plot as far as there is room; the figure's CSV has them all. */
function dropColumns(layout, width) {
  const isBeside = (one) => Math.abs(one.xshift) > BESIDE;
  const all = layout.annotations ?? [];
  const ends = [...new Set(all.filter(isBeside).map((one) => one.xshift))].sort((one, other) => one - other);
  const kept = ends.filter((end, at) => !at || NAMES + PLOT + end <= TIGHT * width);
  if (kept.length === ends.length) return;
  layout.annotations = all.filter((one) => !isBeside(one) || kept.includes(one.xshift));
  layout.margin.r = kept.at(-1) + 8;
}

/** Columns beside the plot as far apart as words in the font of an image need. */
function spread(layout) {
  const more = wider(layout.font);
  layout.font.family = FONT;
  const beside = (layout.annotations ?? []).filter((one) => Math.abs(one.xshift) > BESIDE);
  for (const one of beside) one.xshift *= more;
  if (beside.length) layout.margin.r *= more;
}

/** As many labels as there is room for on an axis of that many pixels; a few names may be turned. */
function thin(axis, across, { pixels, places }) {
  const size = axis.tickfont?.size ?? 13;
  const names = namesOn(axis);
  const longest = Math.max(4, ...names.map((name) => String(name).replace(/<[^>]*>/g, "").length));
  const room = Math.max(1, Math.floor(pixels / (across ? size * (0.62 * longest + 0.6) : LINE_OF_TICKS)));
  if (!axis.ticktext?.length) {
    if (axis.nticks) axis.nticks = Math.max(2, Math.min(axis.nticks, room));
    return;
  }
  const worded = axis.ticktext.some((text) => /\p{L}{3}/u.test(text));
  if (across && worded && axis.ticktext.length > room && axis.ticktext.length * LINE_OF_TICKS < pixels) {
    delete axis.tickangle;
    return;
  }
  const step = Math.ceil(axis.ticktext.length / room);
  axis.tickvals = places.filter((_, place) => place % step === 0);
  axis.ticktext = axis.ticktext.filter((_, place) => place % step === 0);
}

/** What the library makes of a figure, drawn where nobody sees it. */
async function laidOut(figure) {
  const away = document.createElement("div");
  away.style.cssText = "position: fixed; left: -10000px; top: 0; visibility: hidden";
  document.body.append(away);
  try {
    await window.Plotly.newPlot(away, figure.data, structuredClone(figure.layout), { staticPlot: true });
    const { _size: plot, ...full } = away._fullLayout;
    const axes = axesOf(figure.layout).map(([name]) => {
      const { _length: pixels = plot.w, tickvals = [], domain = [0, 1], range = [0, 1] } = full[name] ?? {};
      return [name, { pixels, places: [...tickvals], cells: Math.abs(range[1] - range[0]), domain }];
    });
    return { margins: plot.l + plot.r, plot: plot.w, axes: Object.fromEntries(axes) };
  } finally {
    window.Plotly.purge(away);
    away.remove();
  }
}

/** Pixels of the plot in which words on it and the marks have room. */
function needed(layout, { plot, axes }) {
  const over = (layout.annotations ?? []).filter((one) => one.text && !one.xshift && / domain$/.test(one.xref));
  const needs = over.map((one) => {
    const { pixels } = axes[one.xref.replace(/^x(\d*) domain$/, "xaxis$1")] ?? { pixels: plot };
    return (plot * wordsWide(one.text, one.font?.size ?? layout.font.size)) / pixels;
  });
  return Math.max(PLOT, ...needs);
}

/** The plot on the left of an axis that stands on its own ends before the names there. */
function makeRoomBetween(layout, { plot, axes }) {
  for (const [name, axis] of axesOf(layout)) {
    const names = namesOn(axis);
    if (!name.startsWith("y") || axis.anchor !== "free" || !names.length) continue;
    const room = Math.max(...names.map((text) => wordsWide(text, axis.tickfont?.size ?? 13))) + 8;
    const end = axis.position - room / plot;
    for (const [other, { domain }] of Object.entries(axes))
      if (other.startsWith("x") && domain[1] <= axis.position && domain[0] < end)
        layout[other].domain = [domain[0], Math.min(domain[1], end)];
  }
}

/** Words in cells as large as there is room for, if they can be read then. */
function fitCells(data, { axes }) {
  for (const trace of data.filter((one) => one.type === "heatmap" && one.texttemplate)) {
    const { pixels, cells } = axes[(trace.xaxis ?? "x").replace("x", "xaxis")];
    const words = [trace.text ?? []].flat(2).map(String);
    const longest = Math.max(1, ...words.map((word) => word.length));
    const size = Math.min(trace.textfont?.size ?? 12, (pixels / cells - 2) / (0.62 * longest));
    if (size < LEAST_IN_CELLS) delete trace.texttemplate;
    else if (size) trace.textfont = { ...trace.textfont, size };
  }
}

/** What is pressed on the page is none of an image; what a slider says is. */
function withoutControls(layout) {
  const { steps, active = 0, currentvalue } = layout.sliders?.[0] ?? {};
  if (steps) {
    const text = `${currentvalue?.prefix ?? ""}${steps[active]?.label ?? ""}`;
    const at = { x: 0, y: 1, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false };
    layout.annotations = [...(layout.annotations ?? []), { ...at, text }];
    layout.margin.t = (layout.margin.t ?? 0) + 20;
  }
  Object.assign(layout, { sliders: [], updatemenus: [] });
}

/** The figure as large as an image is laid out: wider than asked for where its words need it. */
async function refit(figure, size, ground) {
  const layout = structuredClone(figure.layout);
  layout.margin = { ...layout.margin, l: Math.max(layout.margin?.l ?? 0, 14) };
  layout.paper_bgcolor = ground;
  withoutControls(layout);
  dropColumns(layout, size.width);
  spread(layout);
  for (const [, axis] of axesOf(layout)) axis.automargin = true;
  let width = Math.max(size.width, Math.ceil(layout.margin.l + (layout.margin.r ?? 0) + PLOT));
  const data = figure.data.map((trace) => ({ ...trace }));
  const high = () => Math.round(Math.min(Math.max(size.height, figure.clientHeight), 1.2 * width));
  const resized = () => ({ data, layout: Object.assign(layout, { width, height: high(), autosize: false }) });
  let found = await laidOut(resized());
  const plot = needed(layout, found);
  if (width - found.margins < plot) {
    width = Math.ceil(found.margins + plot);
    found = await laidOut(resized());
  }
  makeRoomBetween(layout, found);
  fitCells(data, found);
  for (const [name, axis] of axesOf(layout)) thin(axis, name.startsWith("x"), found.axes[name]);
  const smaller = Math.min(1, Math.max(0.45, (1.2 * width) / figure.clientWidth));
  for (const trace of data)
    if (typeof trace.marker?.size === "number") trace.marker = { ...trace.marker, size: trace.marker.size * smaller };
  return resized();
}

async function savePlot(figure, data, size, format) {
  const made = await refit(figure, size, data.ground);
  const { width, height } = made.layout;
  const dense = format === "svg" ? 1 : size.scale;
  const scale = (size.width * dense + 0.01) / width; // a canvas leaves out what is short of a pixel
  const image = await window.Plotly.toImage(made, { format, width, height, scale, imageDataOnly: true });
  const content = format === "svg" ? image : Uint8Array.from(atob(image), (one) => one.charCodeAt(0));
  saveFile(content, format === "svg" ? "image/svg+xml" : "image/png", `${data.file}-${size.name}.${format}`);
}

/** False: there is nothing to save yet. */
async function save(data, size, format) {
  const place = document.querySelector(`.st-key-${CSS.escape(data.chart)}`);
  const [text, map, figure] = [".board, .rs-pair", ".map", ".js-plotly-plot"].map((which) => findIn(place, which));
  const drawn = text ? textAsSvg(text, size.width, data.ground) : map?.asSvg?.(size, data.ground);
  if (drawn) {
    const { svg, height } = drawn;
    await saveSvg(svg, { name: `${data.file}-${size.name}`, format, width: size.width, height, scale: size.scale });
  } else if (figure && window.Plotly) {
    await savePlot(figure, data, size, format);
  } else {
    return false;
  }
  return true;
}

/** Within the elements of that place, and what is shut off in components there. */
function findIn(place, selector) {
  const found = place?.querySelector(selector);
  if (found || !place) return found;
  const shut = [...place.querySelectorAll("*")].filter((one) => one.shadowRoot);
  return shut.map((one) => findIn(one.shadowRoot, selector)).find(Boolean);
}

export default function ({ data, parentElement }) {
  const menu = parentElement.querySelector(".menu");
  const rows = Object.entries(data.images).flatMap(([name, size]) => {
    const title = document.createElement("span");
    title.textContent = name;
    const formats = ["png", "svg"].map((format) => {
      const made = button(format.toUpperCase(), "", async () => {
        const last = name.split(" ").at(-1).toLowerCase(); // column, slide: in the name of the file
        if (!(await save(data, { ...size, name: last }, format))) made.disabled = true;
      });
      made.setAttribute("aria-label", `${name} as ${format.toUpperCase()}`);
      return made;
    });
    return [title, ...formats];
  });
  const note = document.createElement("small");
  note.textContent = data.note;
  const link = button("Copy the link to this page", "link", () => copyLink(link));
  menu.replaceChildren(...rows, ...(data.note ? [note] : []), link);
}
