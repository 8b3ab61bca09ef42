"""Runs of the page Prompts in a real browser: before they begin, and after a killed server."""

import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.dashboard import WAIT, served, settled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # a busy machine reads for minutes

TEXT = "the cat sat on the mat\n\nsat on the cat"


def opened(browser: Browser, url: str) -> Page:
    """In a browser of its own, that knows of no session."""
    page = browser.new_context(viewport={"width": 1440, "height": 1600}).new_page()
    page.set_default_timeout(WAIT)
    page.goto(url)
    return page


def tokens(page: Page) -> list[str]:
    """With the numbers of their experts."""
    page.get_by_text("Read by the model").wait_for()
    page.locator(".strip .chip").first.wait_for()
    return page.locator(".strip .chip").all_inner_texts()


def write(page: Page, text: str) -> None:
    page.get_by_role("button", name="Run", exact=True).wait_for()
    settled(page)
    page.get_by_label("Paste a text", exact=True).fill(text)


@pytest.fixture
def own(workspace: Path, tmp_path: Path) -> Path:
    """A workspace of one trace, that nobody else writes to."""
    (tmp_path / "traces").mkdir()
    shutil.copy(workspace / "traces" / "plain.duckdb", tmp_path / "traces")
    shutil.copytree(workspace / "model", tmp_path / "model")
    return tmp_path


def test_a_run_is_there_after_the_server_was_killed(browser: Browser, own: Path) -> None:
    with served(own) as (url, process):
        page = opened(browser, f"{url}/prompts?trace=plain")
        write(page, TEXT)
        page.get_by_role("button", name="Run", exact=True).click()
        before = tokens(page)
        link = urlsplit(page.url)
        process.kill()
        process.wait(20)
        page.context.close()
    assert len(before) > 4
    with served(own) as (url, _):
        page = opened(browser, f"{url}{link.path}?{link.query}")
        assert tokens(page) == before
        page.get_by_text("My runs (1)").click()
        expect(page.locator(".rs-file")).to_contain_text("the cat sat on the mat (shown)")
        expect(page.locator(".rs-file")).to_contain_text("model · 2 texts")
        page.reload()
        assert tokens(page) == before
        page.context.close()


def test_the_text_of_a_run_is_in_the_box_after_the_server_was_killed(
    browser: Browser, own: Path
) -> None:
    with served(own) as (url, process):
        page = opened(browser, f"{url}/prompts?trace=plain")
        write(page, TEXT)
        page.get_by_role("button", name="Run", exact=True).click()
        page.wait_for_url(re.compile("run=[0-9a-f]{32}"))
        link = urlsplit(page.url)
        process.kill()  # before the model is read
        process.wait(20)
        page.context.close()
    with served(own) as (url, _):
        page = opened(browser, f"{url}{link.path}?{link.query}")
        page.get_by_text("The server ended while this ran; press Run to run it again.").wait_for()
        expect(page.get_by_label("Paste a text", exact=True)).to_have_value(TEXT)
        expect(page.get_by_text("My runs")).to_have_count(0)
        settled(page)
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("My runs (1)").wait_for()
        assert len(tokens(page)) > 4
        kept = own / "traces" / "prompt_runs"
        assert not list(kept.glob(".*.begun"))
        page.context.close()


def test_what_is_typed_and_uploaded_is_there_after_another_page(page: Page, tmp_path: Path) -> None:
    page.goto("/prompts?trace=plain")
    write(page, TEXT)
    page.get_by_text("Let the model continue the text").click()
    page.get_by_label("New tokens (at most 256)", exact=True).fill("12")
    page.get_by_role("link", name="Load balance").click(delay=100)  # leaves the field meanwhile
    page.get_by_text("Do all experts carry their share?").wait_for()
    settled(page)
    page.get_by_role("link", name="Prompts").click()
    page.get_by_text("2 texts. Blank lines").wait_for()
    assert page.get_by_label("Paste a text", exact=True).input_value() == TEXT
    page.get_by_text("Let the model continue the text · 12 new tokens").wait_for()
    file = tmp_path / "my prompts.txt"
    file.write_text("the cat\n")
    page.set_input_files("input[type=file]", str(file))
    remove = page.get_by_role("button", name="Remove")
    remove.wait_for()
    page.get_by_role("link", name="Load balance").click()
    page.get_by_text("Do all experts carry their share?").wait_for()
    settled(page)
    page.get_by_role("link", name="Prompts").click()
    expect(page.locator(".st-key-uploaded_file")).to_contain_text("my prompts.txt")
    remove.click()
    expect(page.locator("input[type=file]")).to_have_count(1)
