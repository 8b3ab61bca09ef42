// Lines of text with a mark in each. Texts arrive as data and only ever become textContent: never markup.
const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

function line(row, onOpen) {
  const made = element("a", "line");
  made.href = row.href;
  made.title = row.title;
  made.style.setProperty("--fill", row.color);
  const lead = element("span", "lead");
  lead.append(element("i"), element("small", "", row.label));
  const text = element("span", "text", row.before);
  text.append(element("b", "", row.text), row.after);
  made.append(lead, text);
  made.onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; // a tab of its own
    event.preventDefault();
    onOpen();
  };
  return made;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const list = parentElement.querySelector(".contexts");
  list.replaceChildren(...data.rows.map((row, index) => line(row, () => setTriggerValue("opened", index))));
}
