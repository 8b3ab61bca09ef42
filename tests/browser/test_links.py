"""What is selected, in a real browser: the link of a page, back and forward, clicks and keys."""

import re
import struct
from base64 import b64encode
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.dashboard import settled

pytestmark = pytest.mark.slow


def opened(page: Page, path: str) -> Page:
    page.goto(f"/{path}")
    page.locator(".rs-question").wait_for()
    settled(page)
    return page


def asked(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(str(page.evaluate("location.href"))).query)


def chips(page: Page) -> list[str]:
    words = page.locator(".st-key-chips [data-testid=stButton]").all_inner_texts()
    return [text.split("\n")[0].strip() for text in words if text.strip() != "Clear selection"]


def pressed(page: Page) -> dict[str, str]:
    """What the controls of a page show, by their labels."""
    found = {}
    for group in page.get_by_test_id("stButtonGroup").all():
        label = group.locator("label").first.inner_text()
        found[label] = " ".join(group.locator("[aria-checked=true]").all_inner_texts())
    for box in page.locator("[data-testid=stMain] [data-testid=stSelectbox]").all():
        found[box.locator("label").first.inner_text()] = box.locator("input").input_value()
    for box in page.locator("[data-testid=stMain] [data-testid=stNumberInput] input").all():
        found[str(box.get_attribute("aria-label"))] = box.input_value()
    return found


@pytest.mark.parametrize(
    ("path", "query", "shown"),
    [
        (
            "specialization",
            "layer=1&expert=1:3&order=number",
            {"MoE layer": "1", "Expert": "3", "Order experts by": "number"},
        ),
        ("load_balance", "sort=load&measure=Gini", {"Order experts by": "load"}),
        (
            "coactivation",
            "layer=1&asked=one+layer&null=uniform+choice&arrange=number",
            {"MoE layer": "1", "Chance model": "uniform choice", "Order experts by": "number"},
        ),
        ("placement", "gpus=2&policy=greedy&phase=prefill", {"GPUs": "2", "Texts": "prefill"}),
        ("prompts", "text=1&token=1:2&layer=1", {"Token": "2", "MoE layer": "1"}),
    ],
)
def test_a_link_opened_in_a_fresh_browser_shows_the_same(
    page: Page, browser: Browser, server: str, path: str, query: str, shown: dict[str, str]
) -> None:
    opened(page, f"{path}?trace=plain&{query}")
    before, address = pressed(page), str(page.evaluate("location.href"))
    assert before | shown == before
    other = browser.new_context(base_url=server).new_page()
    other.goto(address)
    other.locator(".rs-question").wait_for()
    settled(other)
    assert (pressed(other), chips(other)) == (before, chips(page))
    other.context.close()


def test_the_selection_goes_along_to_every_page_and_back(page: Page) -> None:
    opened(page, "specialization?trace=plain&layer=1&expert=1:2")
    page.get_by_role("link", name="Co-activation").click()
    expect(page.get_by_text("Which experts work together?")).to_be_visible()
    settled(page)
    assert (chips(page), asked(page)["expert"]) == (["Layer 1", "Expert 1:2"], ["1:2"])
    page.get_by_role("radio", name="0", exact=True).first.click()
    settled(page)
    assert chips(page) == ["Layer 0", "Expert 0:2"]
    page.go_back()
    settled(page)
    assert chips(page) == ["Layer 1", "Expert 1:2"]
    page.go_forward()
    settled(page)
    assert chips(page) == ["Layer 0", "Expert 0:2"]
    page.locator(".st-key-chips button").first.click()
    settled(page)
    assert (chips(page), asked(page).get("layer")) == (["Expert 0:2"], None)


def test_what_a_link_names_and_the_trace_has_not_is_said(page: Page) -> None:
    query = "layer=7&expert=1:99&domain=<b>no</b>&order=speed&tour=9&utm_source=a+letter"
    opened(page, f"specialization?trace=plain&{query}")
    said = page.get_by_test_id("stAlert")
    expect(said).to_have_count(1)
    expect(said).to_contain_text("layer 7")
    expect(said).to_contain_text("expert 1:99")
    expect(said).to_contain_text("<b>no</b>")
    expect(said).to_contain_text("order=speed")
    expect(said).to_contain_text("tour=9")
    expect(said).not_to_contain_text("letter")
    assert set(asked(page)) == {"trace", "utm_source"}


def test_an_expert_leads_to_its_texts_with_the_keyboard(page: Page) -> None:
    opened(page, "specialization?trace=plain&layer=1&expert=1:0")
    page.get_by_role("button", name="Texts", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Which experts does my text use?")).to_be_visible()
    settled(page)
    assert chips(page) == ["Layer 1", "Expert 1:0"]


def test_a_row_of_a_table_is_opened_with_the_keyboard(page: Page) -> None:
    opened(page, "?trace=plain")
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 35 + 17)  # its first row
    page.keyboard.press("Shift+Space")
    page.wait_for_url(re.compile("specialization"))
    settled(page)
    assert len(chips(page)) == 1


def saved(page: Page, name: str, folder: Path) -> bytes:
    """From an open menu."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    download.value.save_as(folder / name)
    return (folder / name).read_bytes()


def test_a_figure_is_saved_for_a_paper(page: Page, tmp_path: Path) -> None:
    opened(page, "load_balance?trace=plain")
    page.locator(".js-plotly-plot .heatmaplayer image").first.wait_for()
    page.get_by_role("button", name="Save").first.click()
    content = saved(page, "Paper column as PNG", tmp_path)
    width, _ = struct.unpack(">II", content[16:24])
    assert (content[:4], width) == (b"\x89PNG", 1680)
    svg = saved(page, "Slide as SVG", tmp_path)  # from the same open menu
    assert svg.startswith(b"<svg")
    assert b"rgb(253, 253, 251)" in svg  # the ground of the page
    assert transparent_pixels(page, content) == 0
    assert saved(page, "expert load.csv", tmp_path).startswith(b'"layer_id",')


TRANSPARENT = """async (png) => {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: image.width, height: image.height });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  return data.filter((value, place) => place % 4 === 3 && value < 255).length;
}"""


def transparent_pixels(page: Page, png: bytes) -> int:
    return page.evaluate(TRANSPARENT, b64encode(png).decode())


def test_the_columns_beside_a_plot_are_not_cut(page: Page, tmp_path: Path) -> None:
    opened(page, "?trace=plain")
    page.locator(".js-plotly-plot .ytick text").first.wait_for()
    page.locator(".st-key-save_experts_per_domain button").click()
    svg = ElementTree.fromstring(saved(page, "Paper column as SVG", tmp_path))
    width = float((svg.get("viewBox") or "").split()[2])
    assert float(svg.get("width", "").removesuffix("px")) == pytest.approx(420, abs=0.1)
    assert width > 520  # laid out wider, and as a whole made smaller


def test_the_tokens_of_a_text_are_saved_with_their_experts(page: Page, tmp_path: Path) -> None:
    opened(page, "prompts?trace=hostile&text=0")
    page.locator(".st-key-save_strip button").click()
    svg = ElementTree.fromstring(saved(page, "Paper column as SVG", tmp_path))
    assert svg.get("width") == "420"
    texts = [of.text or "" for of in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert "src=http://evil.test/a.png" in " ".join(texts)
    assert saved(page, "Slide as PNG", tmp_path)[:4] == b"\x89PNG"
    assert b"expert_id" in saved(page, "coloured tokens.csv", tmp_path)


def test_the_link_is_copied_from_a_figure_and_from_the_map(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, "load_balance?trace=plain&sort=load")
    page.get_by_role("button", name="Save").first.click()
    copied(page, "Copy the link to this page")
    opened(page, "domain_clusters?trace=plain")
    page.locator(".map[data-drawn]").wait_for()
    settled(page)
    page.locator(".st-key-save_map button").click()
    copied(page, "Copy the link to this page")


def copied(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_a_control_is_in_the_link_after_a_part_was_selected_too(page: Page) -> None:
    opened(page, "specialization?trace=plain")
    for name in ("1", "number"):
        page.get_by_role("radio", name=name, exact=True).first.click()
        settled(page)
    assert (asked(page)["layer"], asked(page)["order"]) == (["1"], ["number"])


def test_one_step_back_from_a_click_shows_the_page_as_it_was_left(page: Page) -> None:
    opened(page, "specialization?trace=plain&layer=1&expert=1:2&order=number")
    page.get_by_role("button", name="Pairs", exact=True).click()
    expect(page.get_by_text("Which experts work together?")).to_be_visible()
    settled(page)
    page.locator(".st-key-chips button").first.click()
    settled(page)
    assert chips(page) == ["Expert 1:2"]
    page.go_back()
    page.go_back()
    expect(page.get_by_text("Which experts prefer which domain?")).to_be_visible()
    settled(page)
    assert chips(page) == ["Layer 1", "Expert 1:2"]
    assert pressed(page)["Order experts by"] == "number"


def test_one_step_back_from_the_sidebar_shows_the_page_as_it_was_left(page: Page) -> None:
    opened(page, "specialization?trace=plain&layer=1&expert=1:2")
    page.get_by_role("radio", name="number", exact=True).click()
    settled(page)
    before, address = pressed(page), asked(page)
    page.get_by_role("link", name="Training").click()
    expect(page.get_by_text("When did the experts settle")).to_be_visible()
    settled(page)
    page.go_back()
    expect(page.get_by_text("Which experts prefer which domain?")).to_be_visible()
    settled(page)
    assert (pressed(page), asked(page)) == (before, address)
    assert before["Order experts by"] == "number"


def test_one_press_goes_back_one_page(page: Page) -> None:
    questions = [
        "Do all experts carry their share?",
        "What can I take away?",
        "Which experts prefer which domain?",
        "Which experts work together?",
    ]
    opened(page, "load_balance?trace=plain&expert=1:2")  # a browser would write 1%3A2
    for link, question in zip(("Export", "Specialization"), questions[1:], strict=False):
        page.get_by_role("link", name=link).click()
        expect(page.get_by_text(question)).to_be_visible()
        settled(page)
    page.get_by_role("button", name="Pairs", exact=True).click()
    for question in reversed(questions):
        expect(page.get_by_text(question)).to_be_visible()
        settled(page)
        page.go_back()


def test_a_page_chosen_in_the_sidebar_shows_what_is_selected_now(page: Page) -> None:
    opened(page, "coactivation?trace=plain&layer=1&arrange=number")
    page.get_by_role("link", name="Specialization").click()
    expect(page.get_by_text("Which experts prefer which domain?")).to_be_visible()
    settled(page)
    page.get_by_role("radio", name="0", exact=True).first.click()
    settled(page)
    page.get_by_role("link", name="Co-activation").click()
    expect(page.get_by_text("Which experts work together?")).to_be_visible()
    settled(page)
    assert pressed(page)["MoE layer"] == "0"
    assert pressed(page)["Order experts by"] == "number"


def test_a_page_is_opened_by_a_click_right_after_typing(page: Page) -> None:
    opened(page, "prompts?trace=plain")
    page.get_by_label("Paste a text", exact=True).fill("typed just now")
    page.get_by_role("link", name="Vocabulary").click()  # pressed for no time at all, as by a touch
    expect(page.get_by_text("Do experts follow the word or the subject?")).to_be_visible()
    settled(page)
    assert chips(page) == []
    page.get_by_role("link", name="Prompts").click(delay=100)
    expect(page.get_by_label("Paste a text", exact=True)).to_have_value("typed just now")
