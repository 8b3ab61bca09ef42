// "/" anywhere but in a field puts the cursor into the search box: that of the page, else that of the sidebar,
// which opens for it. It also goes back once more where the server says that a step of the browser is no page.
const FIELD = "input, textarea, select, [contenteditable]:not([contenteditable='false'])";
const SLIDING = 400; // ms until the sidebar is open

let gone = ""; // the run that last asked for it

const inOrder = (query) => [...new URLSearchParams(query)].map(String).sort().join();

/** To the page before this one, or to this one with that query; a browser that cannot look stays. */
function goBack(query) {
  const { currentEntry, entries } = globalThis.navigation ?? {};
  if (!entries) return;
  const { pathname } = location;
  const before = navigation.entries().slice(0, currentEntry.index).reverse().map(({ key, url }) => ({ key, at: new URL(url) }));
  const isMeant = ({ at }) =>
    query ? at.pathname === pathname && inOrder(at.search) === inOrder(query) : at.pathname !== pathname;
  const found = before.find(isMeant);
  if (found) navigation.traverseTo(found.key);
}

export default function ({ data }) {
  const { run, query } = data.back ?? {};
  if (run && run !== gone) {
    gone = run;
    goBack(query);
  }
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
