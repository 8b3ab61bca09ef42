// Images of a figure on the page, drawn by the library that drew it, and the link to the page.
const button = (text, className, onclick) => {
  const made = document.createElement("button");
  made.textContent = text;
  made.className = className;
  made.onclick = onclick;
  return made;
};

// As many labels as there is room for, and marks as much smaller as their cells.
function refit(figure, width, height) {
  const layout = structuredClone(figure.layout);
  layout.font = { ...layout.font, family: FONT };
  for (const [name, axis] of Object.entries(layout)) {
    const across = name.startsWith("xaxis");
    if (!across && !name.startsWith("yaxis")) continue;
    axis.automargin = true;
    if (!axis.ticktext?.length) continue;
    const longest = Math.max(...axis.ticktext.map((text) => text.length));
    const room = across ? (width * 0.75) / (8 + 7 * longest) : (height * 0.8) / 14;
    const step = Math.ceil(axis.ticktext.length / Math.max(room, 1));
    axis.tickvals = [...axis.tickvals].filter((_, place) => place % step === 0);
    axis.ticktext = axis.ticktext.filter((_, place) => place % step === 0);
  }
  const smaller = Math.min(1, Math.max(0.45, (1.2 * width) / figure.clientWidth));
  const data = figure.data.map((trace) =>
    typeof trace.marker?.size === "number"
      ? { ...trace, marker: { ...trace.marker, size: trace.marker.size * smaller } }
      : trace,
  );
  const margin = { ...layout.margin, l: Math.max(layout.margin?.l ?? 0, 14) };
  return { data, layout: { ...layout, width, height, margin } };
}

async function save(data, size, format) {
  const place = document.querySelector(`.st-key-${CSS.escape(data.chart)}`);
  const { width, scale } = size;
  const text = findIn(place, ".board, .rs-pair");
  if (text) {
    const { svg, height } = textAsSvg(text, width);
    await saveSvg(svg, { name: data.file, format, width, height, scale });
    return true;
  }
  const figure = findIn(place, ".js-plotly-plot");
  if (!figure || !window.Plotly) return false;
  const form = figure.clientHeight / figure.clientWidth; // kept, as far as a page holds it
  const height = Math.round(Math.min(Math.max(size.height, form * width), 1.2 * width));
  const options = { format, width, height, scale: format === "svg" ? 1 : scale };
  const image = await window.Plotly.toImage(refit(figure, width, height), { ...options, imageDataOnly: true });
  const content = format === "svg" ? image : Uint8Array.from(atob(image), (one) => one.charCodeAt(0));
  saveFile(content, format === "svg" ? "image/svg+xml" : "image/png", `${data.file}.${format}`);
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
        if (!(await save(data, size, format))) made.disabled = true;
      });
      made.setAttribute("aria-label", `${name} as ${format.toUpperCase()}`);
      return made;
    });
    return [title, ...formats];
  });
  const link = button("Copy the link to this page", "link", () => copyLink(link));
  menu.replaceChildren(...rows, link);
}
