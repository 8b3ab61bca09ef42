"""How long a newcomer waits: from starting the server, with no trace at all, to each page drawn.

    python -m benchmarks.bench_first_start                    # all pages, some minutes
    python -m benchmarks.bench_first_start --page overview --page search

Each page is the first that a new server on an empty folder is asked for, by its own link; then the
server is started again on what the first one left, and asked again. Compiled loops are compiled
anew. On a machine that is busy with something else, the seconds of the processor that the server
and the browser took are nearer to what a quiet one shows. Needs chromium. Prints a table; the last
line is one JSON object.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.bench_pages import ARGUMENTS, IDLE, PAGES, is_drawn, opened, server

BARS = {"first": 10.0, "restarted": 5.0}  # seconds
LINKS = {  # pages by their link
    "overview": "Overview",
    "search": "Search",
    "specialization": "Specialization",
    "load_balance": "Load balance",
    "coactivation": "Co-activation",
    "vocabulary": "Vocabulary",
    "domain_clusters": "Domain clusters",
    "causes": "Causes",
    "placement": "Placement",
    "cache": "Cache",
    "compare": "Compare",
    "expert_lists": "Expert lists",
    "prompts": "Prompts",
    "training": "Training",
    "redundancy": "Redundancy",
    "comparison": "Architectures",
    "importing": "Import",
    "export": "Export",
}
COMING = "main .rs-coming, main .rs-progress"  # what a page says of results that are not there


@dataclass(frozen=True, slots=True)
class Visit:
    seconds: float  # from starting the server; infinite where the page has no figure
    processor: float  # seconds of it, of the server without its jobs and of the browser
    waiting: tuple[str, ...]  # what the page says is still being computed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", choices=LINKS, action="append")
    arguments = parser.parse_args()
    visits: dict[str, dict[str, Visit]] = {}
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if chromium is None:
            sys.exit("no chromium found")
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[*ARGUMENTS, "--enable-unsafe-swiftshader"]
        )
        for link in arguments.page or LINKS:
            visits[link] = first_and_restarted(browser, link)
            told = ", ".join(f"{name} {one.seconds:.1f} s" for name, one in visits[link].items())
            print(f"{LINKS[link]}: {told}", file=sys.stderr, flush=True)
        browser.close()
    report(visits)


def first_and_restarted(browser: Browser, link: str) -> dict[str, Visit]:
    with tempfile.TemporaryDirectory() as name:
        traces, compiled = Path(name) / "traces", Path(name) / "compiled"
        os.environ["NUMBA_CACHE_DIR"] = str(compiled)  # of the servers
        return {which: visit(browser, traces, link) for which in BARS}


def visit(browser: Browser, traces: Path, link: str) -> Visit:
    page = opened(browser)
    before, start = _browser_seconds(), time.perf_counter()
    with server(traces) as running:
        page.goto(f"{running.url}/{'' if link == 'overview' else link}")
        drawn = wait(page, link, start)
        seconds = time.perf_counter() - start
        own = sum(psutil.Process(running.process.pid).cpu_times()[:2])
        now = _browser_seconds()  # of processes that are still there
        processor = own + sum(now[pid] - before.get(pid, 0.0) for pid in now)
        waiting = page.locator(COMING).all_inner_texts()
    page.context.close()
    return Visit(seconds if drawn else float("inf"), processor, tuple(waiting))


def _browser_seconds() -> dict[int, float]:
    """Of the processor, until now: each process of Chromium and what steers it, by its id."""
    seconds = {}
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(word in child.name() for word in ("chrom", "node")):
                seconds[child.pid] = sum(child.cpu_times()[:2])
    return seconds


def wait(page: Page, link: str, start: float) -> bool:
    """Until the page's figure is there; of one without, until its script has ended."""
    question, key = PAGES[LINKS[link]]
    page.locator(".rs-question", has_text=question).wait_for()
    if key:
        return is_drawn(page, key, start)
    page.locator(".rs-facts, .rs-answer, [data-testid=stExpander]").first.wait_for()
    page.wait_for_timeout(300)
    page.wait_for_selector(IDLE)
    return True


def report(visits: dict[str, dict[str, Visit]]) -> None:
    versions = " ".join(f"{name} {version(name)}" for name in ("streamlit", "plotly", "duckdb"))
    load = os.getloadavg()[2]
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}, load {load:.1f}"
    )
    print("\n| page | first | processor | restarted | processor | still being computed |")
    print("|---|---|---|---|---|---|")
    for link, by_start in visits.items():
        first, again = by_start["first"], by_start["restarted"]
        numbers = [f"{one.seconds:.1f} | {one.processor:.1f}" for one in (first, again)]
        told = " | ".join(numbers).replace("inf", "no figure")
        print(f"| {LINKS[link]} | {told} | {'; '.join(first.waiting)} |")
    worst = {name: max(one[name].seconds for one in visits.values()) for name in BARS}
    processor = {name: max(one[name].processor for one in visits.values()) for name in BARS}
    summary = {
        "worst": {name: round(seconds, 1) for name, seconds in worst.items()},
        "worst_processor": {name: round(seconds, 1) for name, seconds in processor.items()},
        "bars": BARS,
        "passed": all(worst[name] <= bar for name, bar in BARS.items()),
    }
    print(f"\n{json.dumps(summary)}".replace("Infinity", "null"))


if __name__ == "__main__":
    main()
