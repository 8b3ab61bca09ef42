"""Jobs in a real browser: a reload, a second tab, cancelling, a killed server."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.studies.reader import CHECKPOINT
from tests.browser.dashboard import WAIT, settled
from tests.serving import free_port, wait_until_healthy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # a busy machine reads for minutes

ROOT = Path(__file__).parents[2]
TITLE = "Running “long.txt”"
RUNS = f"{TITLE}: "


def run_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["run"][0]


@contextmanager
def serving(workspace: Path, temporary: Path, port: int) -> Iterator[subprocess.Popen]:
    """A server of its own, with the shipped model: the others read too fast to be stopped."""
    environment = os.environ | {
        "ROUTESCOPE_TRACES": str(workspace / "traces"),
        "ROUTESCOPE_MODEL": str(CHECKPOINT),
        "TMPDIR": str(temporary),
    }
    command = [sys.executable, "-m", "streamlit", "run", "app", "--server.port", str(port)]
    log = temporary / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", process, log)
        yield process
    finally:
        process.kill()
        process.wait(20)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def tabs(browser: Browser, port: int) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=f"http://127.0.0.1:{port}")
    context.set_default_timeout(WAIT)
    yield context
    context.close()


def begin_long_run(page: Page, folder: Path) -> None:
    """Far longer than the test, which cancels it."""
    prompts = folder / "long.txt"
    prompts.write_text("".join(f"the cat {number} sat on the mat\n" for number in range(500)))
    page.goto("/prompts?trace=plain")
    page.get_by_role("button", name="Run", exact=True).wait_for()
    page.set_input_files("input[type=file]", str(prompts))
    page.locator(".st-key-uploaded_file").get_by_text("long.txt").wait_for()
    settled(page)
    page.get_by_text("Let the model continue the text").click()
    page.get_by_label("New tokens (at most 256)", exact=True).fill("240")
    page.get_by_label("New tokens (at most 256)", exact=True).press("Tab")
    settled(page)
    page.get_by_role("button", name="Run", exact=True).press("Enter")  # a mouse could miss it: the
    page.get_by_text(RUNS).wait_for()  # settings above it unfold, on a busy machine for seconds
    assert "run=" in page.url


def test_a_run_is_found_again_after_a_reload_and_in_other_tabs(
    tabs: BrowserContext, port: int, workspace: Path, tmp_path: Path
) -> None:
    with serving(workspace, tmp_path, port):
        page, other = tabs.new_page(), tabs.new_page()
        begin_long_run(page, tmp_path)
        page.reload()
        page.get_by_text(RUNS).wait_for()
        other.goto(page.url)
        other.get_by_text(RUNS).wait_for()
        other.goto("/comparison")  # a page without a word of the run, but for the sidebar
        panel = other.locator(".st-key-jobs")
        expect(panel).to_contain_text(TITLE)
        panel.get_by_role("button", name="Cancel").click()
        page.get_by_text("Cancelled. Nothing was stored.").wait_for()
        expect(panel).to_contain_text("Cancelled")


def test_a_continuation_is_seen_as_it_comes_and_kept_when_it_is_stopped(
    tabs: BrowserContext, port: int, workspace: Path, tmp_path: Path
) -> None:
    page = tabs.new_page()
    with serving(workspace, tmp_path, port):
        begin_long_run(page, tmp_path)
        new = page.locator(".rs-live b.new")
        new.nth(20).wait_for()
        expect(new.nth(10).locator("sub")).to_have_text(re.compile(r"^\d+$"))
        page.get_by_role("button", name="Stop and keep this").click()
        page.get_by_text("of 500, as you asked").wait_for()
        page.get_by_role("button", name="the").first.wait_for()  # a token of the first text


def test_a_finished_run_is_seen_by_its_link(page: Page) -> None:
    text = "a dog ran after its own tail"  # names it among the jobs of other tests
    page.goto("/prompts?trace=plain")
    page.get_by_label("Paste a text", exact=True).fill(text)
    settled(page)
    page.get_by_role("button", name="Run", exact=True).press("Enter")
    page.get_by_text("your run").wait_for()
    tab = page.context.new_page()
    tab.goto("/comparison")
    open_ = tab.get_by_role("link", name="Open")
    row = tab.locator(".st-key-jobs div").filter(has_text=f"“{text}”").filter(has=open_)
    row.last.get_by_role("link").click()
    tab.get_by_text("your run").wait_for()
    assert f"run={run_of(page.url)}" in tab.url


def test_a_killed_server_leaves_nothing_and_the_next_one_says_what_it_ended(
    tabs: BrowserContext, port: int, workspace: Path, tmp_path: Path
) -> None:
    page = tabs.new_page()
    with serving(workspace, tmp_path, port):
        begin_long_run(page, tmp_path)
        link = page.url
    [left] = tmp_path.glob("routescope-app-*")
    with serving(workspace, tmp_path, port):
        page.goto(link)
        panel = page.locator(".st-key-jobs")
        expect(panel).to_contain_text("The server was restarted, which ended")
        expect(panel).to_contain_text(TITLE)
        page.get_by_text("The server ended while this ran; press Run to run it again.").wait_for()
        assert not left.exists()
        assert not (workspace / "traces" / "prompt_runs" / run_of(link)).exists()
        panel.get_by_role("button", name="Clear the list").click()
        expect(panel).to_have_count(0)
