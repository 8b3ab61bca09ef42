"""The map of page Domain clusters, by pointer and by keys."""

import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Locator, Page, expect

from app.views.shared.theme import LIGHT
from tests.browser.dashboard import WAIT, settled
from tests.browser.hostile import HOSTILE

pytestmark = pytest.mark.slow

DRAWN = ".map[data-drawn]"
SVG = "{http://www.w3.org/2000/svg}"


def opened(page: Page, path: str) -> Locator:
    """Once the map is made: until then points move. What takes the keys."""
    page.goto(path)
    page.locator(".rs-answer", has_text=re.compile("too few|of 8 tokens")).wait_for(timeout=WAIT)
    page.locator(DRAWN).wait_for()
    settled(page)
    return page.locator(".map canvas")


def nearest_point(page: Page, canvas: Locator) -> tuple[float, float]:
    """Met with a key: where it is."""
    canvas.focus()
    canvas.press("ArrowLeft")
    expect(page.locator(".tip")).to_be_visible()
    page.wait_for_timeout(300)  # the ring is placed when the map is drawn
    ring = page.locator(".ring").bounding_box()
    assert ring is not None
    return ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2


def draw_around(page: Page, x: float, y: float) -> None:
    page.keyboard.down("Shift")
    page.mouse.move(x - 30, y - 30)
    page.mouse.down()
    for corner in ((x + 30, y - 30), (x + 30, y + 30), (x - 30, y + 30)):
        page.mouse.move(*corner, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")


def test_a_pointer_meets_a_token_in_its_text_and_a_click_opens_it(page: Page) -> None:
    canvas = opened(page, "/domain_clusters?trace=plain")
    x, y = nearest_point(page, canvas)
    met = page.locator(".tip").inner_text()
    page.mouse.move(x + 200, y)
    page.mouse.move(x, y)
    expect(page.locator(".tip")).to_have_text(re.compile(r"text (\d), token (\d)"))
    assert page.locator(".tip q").inner_text() in met
    place = re.search(r"text (\d), token (\d)", page.locator(".tip").inner_text())
    assert place is not None
    page.mouse.click(x, y)
    page.wait_for_url(re.compile(rf"prompts\?.*token={place[1]}(:|%3A){place[2]}"))


def test_an_area_is_drawn_kept_in_the_link_and_cleared(page: Page) -> None:
    canvas = opened(page, "/domain_clusters?trace=plain")
    draw_around(page, *nearest_point(page, canvas))
    answer = page.locator(".rs-answer").first
    expect(answer).to_have_text(re.compile(r"[1-7] of 8 tokens: "))
    said, link = answer.inner_text(), page.url
    assert "area=" in link
    page.goto("about:blank")
    canvas = opened(page, link)
    expect(answer).to_have_text(said)
    canvas.press("Escape")
    expect(answer).to_have_text(re.compile("too few"))
    settled(page)
    assert "area=" not in page.url


def test_all_of_it_works_with_keys_and_the_hint_goes(page: Page) -> None:
    canvas = opened(page, "/domain_clusters?trace=plain")
    canvas.focus()
    canvas.press("l")
    expect(page.locator(".rs-answer").first).to_have_text(re.compile("8 of 8 tokens: "))
    expect(page.locator(".map .hint")).to_be_hidden()
    for _ in range(16):
        canvas.press("+")
    for _ in range(12):
        canvas.press("ArrowUp")
    expect(page.locator(".map .hint")).to_have_text(re.compile("No point is here"))
    canvas.press("0")
    expect(page.locator(".map .hint")).to_be_hidden()
    canvas.press("Enter")
    page.wait_for_url(re.compile(r"prompts\?.*text="))


def test_hostile_tokens_and_domains_are_shown_as_they_are(page: Page) -> None:
    canvas = opened(page, "/domain_clusters?trace=hostile")
    entry = page.locator(".legend .entry", has_text="<img src=http://evil.test")
    expect(entry).to_have_count(1)
    entry.click()  # only points of this domain are met
    x, y = nearest_point(page, canvas)
    page.mouse.move(x, y)
    expect(page.locator(".tip q b")).to_have_text(HOSTILE[:40])
    expect(page.locator(".tip")).to_contain_text("![a](http://evil.test/b.png)")
    expect(page.locator(".map img, .map script, .map q b b")).to_have_count(0)


def test_what_is_in_view_is_saved_in_the_sizes_of_figures(page: Page, tmp_path: Path) -> None:
    opened(page, "/domain_clusters?trace=hostile")
    page.locator(".st-key-save_map button").click()
    for format in ("Slide as PNG", "Paper column as SVG"):
        with page.expect_download() as download:
            page.get_by_role("button", name=format).click()
        download.value.save_as(tmp_path / format)
    svg = ElementTree.parse(tmp_path / "Paper column as SVG").getroot()  # whatever a domain is
    texts = [of.text for of in svg.iter(f"{SVG}text")]
    assert "domain" in texts
    assert svg.get("width") == "420"
    ground = next(svg.iter(f"{SVG}rect"))
    assert ground.get("fill") == LIGHT.ground
    content = (tmp_path / "Slide as PNG").read_bytes()
    assert struct.unpack(">II", content[16:24]) == (2640, 1485)
