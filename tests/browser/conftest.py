"""A browser that tells on every error and request, and a dashboard for it to visit."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from tests.browser.dashboard import ARGUMENTS, CHROMIUM, WAIT, served, write_workspace

expect.set_options(timeout=WAIT)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    write_workspace(folder)
    return folder


@pytest.fixture(scope="session")
def server(workspace: Path) -> Iterator[str]:
    with served(workspace) as (url, _):
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        missing = "no chromium found: install the system's chromium to run the browser tests"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)  # CI leaves nothing out
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def visitor(browser: Browser, server: str) -> Iterator[BrowserContext]:
    """One for all tabs, so that the dashboard's scripts are fetched once."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 1600}, base_url=server, accept_downloads=True
    )
    context.set_default_timeout(WAIT)
    yield context
    context.close()


@pytest.fixture
def page(visitor: BrowserContext, server: str) -> Iterator[Page]:
    """A tab. Fails on a page error, an error in the console, or a request to another host."""
    tab = visitor.new_page()
    troubles: list[str] = []

    def watch_request(request: Request) -> None:
        if not request.url.startswith((server, "data:", "blob:")):
            troubles.append(f"request to {request.url}")

    def watch_console(message: ConsoleMessage) -> None:
        url = message.location.get("url", "")
        probing = "/_stcore/" in url  # streamlit looks for its own root
        if message.type == "error" and not probing:
            troubles.append(f"console: {message.text} {url}")

    tab.on("request", watch_request)
    tab.on("console", watch_console)
    tab.on("pageerror", lambda error: troubles.append(f"page error: {error}"))
    yield tab
    tab.close()
    assert troubles == []
