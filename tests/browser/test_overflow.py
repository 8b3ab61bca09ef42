"""Nothing on a page reaches beyond the window, no word is cut, and labels beside each other stand
in line, on a wide screen, a laptop and a phone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.app.pages import PAGES
from tests.browser.dashboard import WAIT, settled

pytestmark = pytest.mark.slow

WINDOWS: dict[str, ViewportSize] = {
    "wide": {"width": 1920, "height": 1080},
    "laptop": {"width": 1280, "height": 900},
    "phone": {"width": 390, "height": 844},
}
BEYOND = """() => {
  const main = document.querySelector('[data-testid=stMain]');
  const found = [];
  const says = (one) => one.textContent.trim().slice(0, 40) || one.className;
  for (const one of main.querySelectorAll('*')) {
    const box = one.getBoundingClientRect();
    const style = getComputedStyle(one);
    if (!box.width || !box.height || style.visibility === 'hidden') continue;
    if (one.closest('svg, .js-plotly-plot, canvas, [data-testid=stDataFrame]')) continue;
    let held = false; // by a box that scrolls or cuts
    for (let box = one.parentElement; box && box !== main; box = box.parentElement) {
      if (getComputedStyle(box).overflowX !== 'visible') held = true;
    }
    const beyond = box.right > innerWidth + 1 || box.left < -1;
    if (!held && beyond) found.push(`beyond the window: ${says(one)}`);
    const written = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const cut = style.textOverflow === 'ellipsis' && one.scrollWidth > one.clientWidth + 1;
    if (written && cut) found.push(`cut: ${says(one)}`);
  }
  for (const row of main.querySelectorAll('.stHorizontalBlock')) {
    const lines = {}; // of controls, by where they end
    for (const one of row.children) {
      const label = one.querySelector(
        ':scope > :is(.stSelectbox, .stNumberInput, .stButtonGroup) > label');
      const end = Math.round(one.getBoundingClientRect().bottom);
      if (label) (lines[end] ??= []).push([label.getBoundingClientRect().top, says(label)]);
    }
    for (const line of Object.values(lines)) {
      const [top, name] = line[0];
      const askew = line.filter(([at]) => Math.abs(at - top) > 2);
      askew.forEach(([, other]) => found.push(`out of line: ${name}, ${other}`));
    }
  }
  return found;
}"""


@pytest.fixture(scope="module", params=["light", "dark"])
def window(request: pytest.FixtureRequest, browser: Browser, server: str) -> Iterator[Page]:
    """As a phone opens it, or a laptop: some of a page is folded on the one, open on the other."""
    dark = request.param == "dark"
    size = WINDOWS["phone" if dark else "laptop"]
    context = browser.new_context(viewport=size, color_scheme=request.param, base_url=server)
    context.set_default_timeout(WAIT)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_reaches_beyond_the_window(name: str, window: Page) -> None:
    size = window.viewport_size
    assert size is not None
    window.goto(f"/{'' if name == 'overview' else name}?trace=wide")
    expect(window.locator(".rs-question")).to_have_text(PAGES[name])
    settled(window)
    assert window.evaluate(BEYOND) == []
    if size == WINDOWS["laptop"]:
        window.set_viewport_size(WINDOWS["wide"])
        settled(window)
        assert window.evaluate(BEYOND) == []
        window.set_viewport_size(size)


def test_the_tokens_of_a_text_are_on_the_first_screen(window: Page) -> None:
    size = window.viewport_size
    assert size is not None
    window.goto("/prompts?trace=wide")
    first = window.locator(".chip").first
    first.wait_for()
    settled(window)
    box = first.bounding_box()
    assert box is not None
    assert box["y"] + 3 * box["height"] < size["height"]
