"""The app as a stranger uses it, in a real browser."""

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, Page, expect

from tests.browser import dashboard
from tests.browser.hostile import HOSTILE

pytestmark = pytest.mark.slow

PAGES = {
    "": "Which domain does each expert prefer?",
    "search": "Where does this occur?",
    "specialization": "Which experts prefer which domain?",
    "load_balance": "Do all experts carry their share?",
    "coactivation": "Which experts work together?",
    "vocabulary": "Do experts follow the word or the subject?",
    "domain_clusters": "Do texts of one domain travel together?",
    "causes": "Does removing a specialist hurt its own domain?",
    "placement": "Which expert should lie on which GPU?",
    "prompts": "Which experts does my text use?",
    "training": "When did the experts settle, and was it worth it?",
    "redundancy": "Could fewer experts do the same work?",
    "comparison": "Does DeepSeekMoE beat what came before it?",
    "importing": "What did another engine route?",
    "export": "What can I take away?",
}


def settled(page: Page) -> None:
    dashboard.settled(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def opened(page: Page, path: str) -> Page:
    page.goto(f"/{path}")
    page.locator(".rs-question").wait_for()
    settled(page)
    return page


def drawn(page: Page) -> FloatRect:
    """Where the first chart lies, once it has its final place and width."""
    area = page.locator(".js-plotly-plot .nsewdrag").first
    area.wait_for()
    before = None
    while before != (box := area.bounding_box()) or not box:
        before = box
        page.wait_for_timeout(500)
    return box


def click_cell(page: Page, *, row: int, column: int, rows: int, columns: int) -> None:
    """In the middle of a heatmap's cell: a chart takes a click for what it knows to be below."""
    box = drawn(page)
    x = box["x"] + box["width"] * (column + 0.5) / columns
    y = box["y"] + box["height"] * (row + 0.5) / rows
    page.mouse.move(x, y)
    page.locator(".hoverlayer .hovertext").first.wait_for()
    page.mouse.click(x, y)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens(page: Page, path: str) -> None:
    opened(page, f"{path}?trace=hostile")
    expect(page.locator(".rs-question")).to_have_text(PAGES[path])
    expect(page.locator(".rs-question img, .rs-answer img, .contexts img")).to_have_count(0)


def test_a_click_on_a_cell_opens_the_expert(page: Page) -> None:
    opened(page, "specialization?trace=plain&order=number")
    click_cell(page, row=0, column=2, rows=3, columns=4)
    settled(page)
    expect(page.get_by_role("heading", name="Expert 2 of layer 0")).to_be_visible()
    page.wait_for_url(re.compile(r"specialization\?.*expert=0(:|%3A)2"))


def test_a_click_on_a_load_leads_to_the_expert(page: Page) -> None:
    opened(page, "specialization?trace=plain&layer=0&expert=1")
    page.get_by_role("link", name="Load balance").click()
    page.get_by_text("Do all experts").wait_for()
    settled(page)
    click_cell(page, row=1, column=3, rows=2, columns=4)
    expect(page.get_by_role("heading", name="Expert 3 of layer 1")).to_be_visible()
    page.wait_for_url(re.compile(r"specialization\?.*layer=1"))


def test_a_click_on_one_of_thousands_of_cells_leads_to_its_expert(page: Page) -> None:
    opened(page, "load_balance?trace=wide")
    box = drawn(page)
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.3)
    line = page.locator(".hoverlayer .hovertext .line").first
    line.wait_for()
    said = re.fullmatch(r"layer (\d+), expert (\d+)", line.text_content() or "")
    assert said is not None
    assert page.locator(".js-plotly-plot .textpoint").count() == 0  # 3,072 of them take a second
    page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.3)
    layer, expert = said.groups()
    expect(page.get_by_role("heading", name=f"Expert {expert} of layer {layer}")).to_be_visible()


def test_a_table_is_downloaded_as_csv(page: Page) -> None:
    opened(page, "load_balance?trace=plain")
    page.locator(".st-key-save_load_by_layer").get_by_role("button").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="load by layer.csv").first.click()
    assert download.value.suggested_filename == "plain-load_by_layer.csv"
    with Path(download.value.path()).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    imbalance = [row["estimate"] for row in rows if row["metric"] == "load_imbalance"]
    assert imbalance == ["2.0", "1.0"]  # 8 / 4 and 4 / 4


def test_an_export_guards_formulas(page: Page) -> None:
    opened(page, "export?trace=hostile")
    with page.expect_download() as download:
        page.locator(".st-key-csv_texts button").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert "'=cmd()" in text
    assert '"=cmd()' not in text


def test_a_name_of_any_script_survives_a_download(page: Page) -> None:
    opened(page, "export?trace=日本語")
    page.get_by_text("For spreadsheets").click()
    expect(page.get_by_label("For spreadsheets")).to_be_checked()
    for _ in range(10):  # until the button leads to the new file
        settled(page)
        with page.expect_download() as download:
            page.locator(".st-key-csv_texts button").click()
        if Path(download.value.path()).read_bytes().startswith(b"\xef"):
            break
        page.wait_for_timeout(1000)
    assert download.value.suggested_filename == "日本語-texts.csv"
    assert Path(download.value.path()).read_bytes().startswith(b"\xef\xbb\xbf")
    page.get_by_role("button", name="Prepare the zip").click()
    made = page.get_by_role("button", name="Download the zip")
    made.wait_for()
    with page.expect_download() as download:
        made.click()
    assert download.value.suggested_filename == "日本語-routescope.zip"


def test_uploaded_prompts_are_run_and_a_chip_shows_the_path(page: Page, tmp_path: Path) -> None:
    opened(page, "prompts?trace=plain")
    prompts = tmp_path / "prompts.csv"
    with prompts.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "domain"], [HOSTILE, "math"], ["the cat", "code"]])
    page.set_input_files("input[type=file]", str(prompts))
    page.locator(".st-key-uploaded_file").get_by_text("prompts.csv").wait_for()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("your run").wait_for()
    settled(page)
    chips = page.locator(".chip")
    shown = "".join(
        chip.removesuffix(id_)
        for chip, id_ in zip(
            chips.all_text_contents(), page.locator(".chip sub").all_text_contents(), strict=True
        )
    )
    assert shown.replace("␣", " ") == HOSTILE
    chips.nth(3).click()
    settled(page)
    expect(page.get_by_label("Token", exact=True)).to_have_value("3")
    assert "token=3" in page.url


def test_a_line_of_the_legend_sets_other_tokens_aside(page: Page) -> None:
    opened(page, "prompts?trace=plain")
    entries, kept = page.locator(".entry"), page.locator(".chip.kept")
    expect(entries.first).to_contain_text("expert")  # four experts have no clusters
    expect(entries.first).to_contain_text("100%")
    entries.first.click()
    expect(page.locator(".strip.aside")).to_have_count(1)
    expect(kept).to_have_count(3)
    page.locator(".chip").nth(1).click()
    settled(page)
    expect(kept).to_have_count(3)  # though all was drawn anew
    entries.first.click()
    expect(page.locator(".strip.aside")).to_have_count(0)
    page.get_by_text("gate entropy", exact=True).click()
    settled(page)
    expect(page.locator(".ticks")).to_have_text("00.7ln 4 = 1.39")
    assert "colour_by=gate+entropy" in page.url


def test_hostile_text_is_shown_as_it_is(page: Page) -> None:
    opened(page, "specialization?trace=hostile&expert=0")
    expect(page.locator(".contexts b").first).to_have_text(HOSTILE)


def test_a_slash_searches_from_any_page_and_a_context_leads_to_its_token(page: Page) -> None:
    opened(page, "load_balance?trace=plain")
    page.locator(".rs-question").click()
    page.keyboard.press("/")
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    expect(page.locator(".rs-question")).to_have_text(PAGES["search"])
    settled(page)
    box = page.get_by_test_id("stMain").get_by_label("Search this trace")
    expect(box).to_have_value("1")
    box.press("/")  # in a field it is a character
    expect(box).to_have_value("/1")
    box.fill("1")
    settled(page)
    page.locator(".contexts a").first.click()
    expect(page.locator(".rs-question")).to_have_text(PAGES["prompts"])
    page.wait_for_url(re.compile(r"prompts\?.*text=0&token=0%3A2"))


def test_dark_mode_has_dark_figures(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    opened(page, "load_balance?trace=plain")
    drawn(page)
    tick = page.locator(".js-plotly-plot .ytick text").first
    fill = tick.evaluate("element => getComputedStyle(element).fill")
    assert fill == "rgb(227, 229, 231)"  # the light text of the dark palette
