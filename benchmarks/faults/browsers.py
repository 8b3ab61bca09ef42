"""Eight browsers at once, each touring all pages of one server in an order of its own.

`count` is how many seconds they tour; the pages are those of tests/browser/dashboard.py.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count as numbers
from pathlib import Path

from playwright.async_api import Browser, ConsoleMessage, Page, Request, Response, async_playwright
from playwright.async_api import Error as PlaywrightError

from tests.app.pages import PAGES
from tests.browser.dashboard import ARGUMENTS, CHROMIUM, served, write_workspace

BROWSERS = 8
TRACES = ("plain", "hostile", "日本語")
PATIENCE = 180_000  # milliseconds for a page, with all browsers on few cores
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
ERRORS = (
    "page_errors",
    "console_errors",
    "exceptions",
    "stuck",
    "failed_requests",
    "foreign_requests",
    "tracebacks",
    "server_deaths",
)


class Tally:
    """What was counted, and the first things that went wrong, in words."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: list[str] = []

    def fault(self, kind: str, words: str) -> None:
        self.counts[kind] += 1
        if len(self.first) < 10:
            self.first.append(f"{kind}: {words[:300]}")


def run(count: int, seed: int, work: Path) -> dict[str, int | float]:
    """pages: drawn to the end; the kinds of ERRORS, and their sum, errors."""
    if CHROMIUM is None:
        raise ValueError("no chromium found; install the system's chromium")
    write_workspace(work)
    tally = Tally()
    with served(work) as (url, process):
        asyncio.run(tours(url, process, tally, seconds=count, seed=seed))
    tally.counts["tracebacks"] = (work / "server.log").read_text().count("Traceback")
    for line in tally.first:
        print(line, file=sys.stderr)
    faults = {kind: tally.counts[kind] for kind in ERRORS}
    return {
        "browsers": BROWSERS,
        "seconds": count,
        "pages": tally.counts["pages"],
        **faults,
        "errors": sum(faults.values()),
    }


async def tours(
    url: str, process: subprocess.Popen, tally: Tally, *, seconds: int, seed: int
) -> None:
    last = time.monotonic() + seconds
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        touring = (
            tour(browser, url, tally, random.Random(f"{seed}.{number}"), last=last)
            for number in range(BROWSERS)
        )
        await asyncio.gather(*touring)
        await browser.close()
    if process.poll() is not None:
        tally.fault("server_deaths", f"the server ended with {process.returncode}")


async def tour(
    browser: Browser, url: str, tally: Tally, order: random.Random, *, last: float
) -> None:
    """One person: a context of their own, one page after the other."""
    context = await browser.new_context(viewport={"width": 1440, "height": 1600})
    page = await context.new_page()
    watch(page, url, tally)
    for address in addresses(order):
        if time.monotonic() > last:
            break
        await visit(page, f"{url}/{address}", tally)
    await context.close()


def addresses(order: random.Random) -> Iterator[str]:
    """All pages of a trace in some order, then those of another, without end."""
    for _ in numbers():
        trace = order.choice(TRACES)
        for name in order.sample(sorted(PAGES), len(PAGES)):
            yield f"{'' if name == 'overview' else name}?trace={trace}"


async def visit(page: Page, address: str, tally: Tally) -> None:
    try:
        await page.goto(address, timeout=PATIENCE)
        await page.locator(".rs-question").wait_for(timeout=PATIENCE)
        await page.wait_for_timeout(300)
        await page.wait_for_selector(IDLE, timeout=PATIENCE)
        exceptions = await page.get_by_test_id("stException").all_inner_texts()
    except PlaywrightError as error:
        tally.fault("stuck", f"{address}: {error}")
        return
    for text in exceptions:
        tally.fault("exceptions", f"{address}: {text}")
    tally.counts["pages"] += not exceptions


def watch(page: Page, url: str, tally: Tally) -> None:
    """Streamlit looks for its own root below the address of a page: that is no fault."""

    def console(message: ConsoleMessage) -> None:
        if message.type == "error" and "/_stcore/" not in message.location.get("url", ""):
            tally.fault("console_errors", message.text)

    def request(asked: Request) -> None:
        if not asked.url.startswith((url, "data:", "blob:")):
            tally.fault("foreign_requests", asked.url)

    def failed(asked: Request) -> None:
        if asked.failure != "net::ERR_ABORTED":  # by leaving the page
            tally.fault("failed_requests", f"{asked.url}: {asked.failure}")

    def response(answer: Response) -> None:
        if answer.status >= 400 and "/_stcore/" not in answer.url:
            tally.fault("failed_requests", f"{answer.url}: {answer.status}")

    page.on("pageerror", lambda error: tally.fault("page_errors", str(error)))
    page.on("console", console)
    page.on("request", request)
    page.on("requestfailed", failed)
    page.on("response", response)
