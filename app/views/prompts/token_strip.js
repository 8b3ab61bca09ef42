// A text as chips, one per token. Texts arrive as data and only ever become textContent: never markup.
export default function ({ data, parentElement, setTriggerValue }) {
  const strip = parentElement.querySelector(".strip");
  strip.replaceChildren();
  const chips = data.tokens.map((text, index) => {
    const chip = document.createElement("button");
    const note = data.notes[index];
    chip.className = "chip" + (index === data.selected ? " selected" : "") + (note ? " noted" : "");
    if (data.special[index]) chip.className += " special";
    chip.style.setProperty("--color", data.colors[data.categories[index]]);
    chip.textContent = text;
    const of = data.chosen[index] ? `, strongest of ${data.chosen[index]}` : "";
    chip.title = `token ${data.start + index}: ${data.experts[index] === "" ? "no expert" : `expert ${data.experts[index]}`}${of}${note ? `; ${note}` : ""}`;
    chip.tabIndex = index === Math.max(data.selected, 0) ? 0 : -1;
    chip.setAttribute("aria-pressed", index === data.selected);
    const id = document.createElement("sub");
    id.textContent = data.experts[index];
    chip.append(id);
    chip.onclick = () => setTriggerValue("token", index);
    chip.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const next = step && chips[index + step];
      if (next) next.focus();
    };
    return chip;
  });
  chips.forEach((chip, index) => {
    strip.append(chip);
    if (data.breaks[index]) strip.append(document.createElement("br"));
  });
}
