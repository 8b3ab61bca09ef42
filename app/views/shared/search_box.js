// "/" anywhere but in a field puts the cursor into the search box: that of the page, else that of the sidebar,
// which opens for it.
const FIELD = "input, textarea, select, [contenteditable]:not([contenteditable='false'])";
const SLIDING = 400; // ms until the sidebar is open

export default function ({ data }) {
  const boxes = () => [...document.querySelectorAll("input")].filter((box) => box.ariaLabel === data.label);
  const focus = () => {
    const found = boxes();
    const box = found.find((each) => each.closest('[data-testid="stMain"]')) ?? found[0];
    box?.focus();
    box?.select();
    return box;
  };
  const onKey = (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.composedPath()[0].closest?.(FIELD)) return;
    event.preventDefault();
    const closed = document.querySelector('[data-testid="stExpandSidebarButton"]');
    const inPage = boxes().some((box) => box.closest('[data-testid="stMain"]'));
    if (closed && !inPage) {
      closed.click();
      setTimeout(focus, SLIDING);
    } else {
      focus();
    }
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}
