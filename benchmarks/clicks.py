"""Clicks on a page that is open: every option that is not chosen and the middle of every figure,
and how long the answer takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from playwright.sync_api import Locator, Page

IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
STATE = "() => document.querySelector('[data-testid=stApp]').dataset.testScriptState"
KEY = """chart => [...chart.closest('[class*=st-key-]').classList].find(
    name => name.startsWith('st-key-'))"""
MOST_OPTIONS = 3  # of one group
AGAIN = 3  # times each option
SETTLED = """() => new Promise(done => {
    let last = performance.now();
    const watch = new MutationObserver(() => { last = performance.now(); });
    const main = document.querySelector('[data-testid=stMain]');
    watch.observe(main, {childList: true, subtree: true});
    const look = () => {
        const app = document.querySelector('[data-testid=stApp]');
        const idle = app.dataset.testScriptState === 'notRunning';
        if (idle && performance.now() - last > 120) { watch.disconnect(); done(last); }
        else requestAnimationFrame(look);
    };
    look();
})"""


@dataclass(frozen=True, slots=True)
class Click:
    what: str
    seconds: float  # median


def clicks(page: Page) -> list[Click]:
    """Of every group of buttons that shows in the page's main part."""
    groups = page.locator("[data-testid=stMain] [data-testid=stButtonGroup]")
    found = []
    for number in range(groups.count()):
        if not groups.nth(number).is_visible():  # in a fold that is closed
            continue
        label = groups.nth(number).locator("label").first.inner_text()
        options = groups.nth(number).get_by_role("radio").all_inner_texts()[:MOST_OPTIONS]
        times = {option: list[float]() for option in options}
        for _ in range(AGAIN):
            for option in options:
                radio = groups.nth(number).get_by_role("radio", name=option, exact=True)
                if radio.get_attribute("aria-checked") != "true":
                    times[option].append(answered(page, radio))
        found += [
            Click(f"{label}: {option}", median(seconds))
            for option, seconds in times.items()
            if seconds
        ]
    return found


def clicks_on_figures(page: Page, reopen: Callable[[str], object]) -> list[Click]:
    """That do something; the page is opened again by its address after each."""
    charts, address = page.locator("[data-testid=stMain] [data-testid=stPlotlyChart]"), page.url
    flat = charts.filter(has=page.locator(".nsewdrag"))
    keys = [str(chart.evaluate(KEY)) for chart in flat.all() if chart.is_visible()]
    found = []
    for key in keys:
        seconds = []
        for _ in range(AGAIN):
            took = answered(page, page.locator(f".{key} .nsewdrag").first)
            if page.url != address:
                seconds.append(took)
                reopen(address)
        if seconds:
            found.append(Click(f"figure {key.removeprefix('st-key-')}", median(seconds)))
    return found


def answered(page: Page, target: Locator) -> float:
    """From the click until the script has ended and nothing on the page has changed since; the
    first and last moment by the page's own clock."""
    target.scroll_into_view_if_needed()
    start = float(page.evaluate("() => performance.now()"))
    target.click()
    deadline = time.perf_counter() + 0.25
    while page.evaluate(STATE) == "notRunning" and time.perf_counter() < deadline:
        page.wait_for_timeout(5)
    return (float(page.evaluate(SETTLED)) - start) / 1000
