// A text as chips, one per token. Texts arrive as data and only ever become textContent: never markup.
const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

function chip(data, index, chips, onClick) {
  const note = data.notes[index];
  const amount = data.legend.amount;
  const classes = {
    selected: index === data.selected,
    noted: note,
    marked: data.marked[index],
    special: data.special[index],
    unseen: data.unseen[index],
    amount,
    unknown: amount && data.places[index] >= 0,
    plain: data.legend.entries[data.places[index]]?.quiet ?? true,
  };
  const made = element("button", "chip", data.tokens[index]);
  Object.entries(classes).forEach(([name, on]) => made.classList.toggle(name, Boolean(on)));
  made.style.setProperty("--fill", data.fills[index]);
  if (amount) made.style.setProperty("--ink", data.inks[index]);
  if (data.unseen[index]) made.dataset.mark = data.mark;
  const of = data.chosen[index] ? `, strongest of ${data.chosen[index]}` : "";
  const expert = data.experts[index] ? `expert ${data.experts[index]}${of}` : "no expert";
  made.title = [`token ${index}: ${expert}`, data.values[index], note].filter(Boolean).join("; ");
  made.tabIndex = index === Math.max(data.selected, 0) ? 0 : -1;
  made.setAttribute("aria-pressed", index === data.selected);
  made.append(element("sub", "", data.experts[index]));
  made.onclick = () => onClick(index);
  made.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = step && chips[index + step];
    if (next) next.focus();
  };
  return made;
}

function entry(one) {
  const made = element("button", "entry");
  const swatch = element("i", one.color ? "" : "unknown");
  if (one.color) swatch.style.setProperty("--fill", one.color);
  const name = element("span", "", one.words.length ? undefined : one.name);
  one.words.forEach((word) => name.append(element("b", "", word)));
  made.append(swatch, name, element("span", "share", one.share));
  if (one.detail) made.append(element("small", "", one.detail));
  made.title = [one.words.length ? one.words.join(" ") : one.name, one.detail].filter(Boolean).join("; ");
  made.classList.toggle("absent", !one.count);
  made.setAttribute("aria-pressed", false);
  return made;
}

function ramp(legend) {
  const bar = element("div", "ramp");
  bar.style.background = `linear-gradient(to right, ${legend.ramp.join(", ")})`;
  const ticks = element("div", "ticks");
  legend.ticks.forEach((tick) => ticks.append(element("span", "", tick)));
  return [bar, ticks];
}

export default function ({ data, parentElement, setTriggerValue }) {
  const strip = parentElement.querySelector(".strip");
  const legend = parentElement.querySelector(".legend");
  const scrolled = strip.scrollTop; // what a click, which draws all anew, must not lose
  const focused = [...strip.querySelectorAll(".chip")].indexOf(strip.getRootNode().activeElement);

  const chips = [];
  data.tokens.forEach((_, index) =>
    chips.push(chip(data, index, chips, (chosen) => setTriggerValue("token", chosen))),
  );
  strip.ariaLabel = data.alt;
  strip.replaceChildren();
  chips.forEach((made, index) => {
    strip.append(made);
    if (data.breaks[index]) strip.append(element("br"));
  });

  const entries = data.legend.entries.map(entry);
  const same = JSON.stringify(data.legend.entries);
  let pinned = strip.dataset.entries === same ? Number(strip.dataset.pinned) : -1;
  strip.dataset.entries = same;
  const keep = (place) => {
    strip.classList.toggle("aside", place >= 0);
    chips.forEach((made, index) => made.classList.toggle("kept", data.places[index] === place));
  };
  const pin = (place) => {
    pinned = place; // the entry whose tokens alone keep their colour
    strip.dataset.pinned = place;
    entries.forEach((each, at) => each.setAttribute("aria-pressed", at === place));
    keep(place);
  };
  entries.forEach((made, place) => {
    made.onmouseenter = made.onfocus = () => keep(place);
    made.onmouseleave = made.onblur = () => keep(pinned);
    made.onclick = () => pin(pinned === place ? -1 : place);
  });
  chips.forEach((made, index) => {
    const one = entries[data.places[index]];
    if (!one) return;
    made.onmouseenter = made.onfocus = () => one.classList.add("lit");
    made.onmouseleave = made.onblur = () => one.classList.remove("lit");
  });
  pin(pinned);

  const head = element("h4", "", data.legend.title);
  if (entries.length) head.append(element("small", "", "of tokens"));
  const list = element("div", "entries");
  list.append(...entries);
  const shown = entries.length || data.legend.ramp.length;
  legend.replaceChildren(head, ...(data.legend.ramp.length ? ramp(data.legend) : []), list);
  legend.hidden = !shown;

  strip.scrollTop = scrolled;
  if (data.reveal) chips[data.selected]?.scrollIntoView({ block: "center" });
  chips[focused]?.focus({ preventScroll: true });
}
