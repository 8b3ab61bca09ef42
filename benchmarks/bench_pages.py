"""How long a page takes in a browser on the demo trace, from the click to the drawn page.

    python benchmarks/bench_pages.py

Needs chromium and traces/demo.duckdb. Prints a table; the last line is one JSON object.
"""

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
BAR = 2.0  # seconds, every page after the first
ROUNDS = 5
PAGES = {
    "Overview": "Which domain does each expert prefer?",
    "Specialization": "Which experts prefer which domain?",
    "Load balance": "Do all experts carry their share?",
    "Co-activation": "Which experts work together?",
    "Vocabulary": "Do experts follow the word or the subject?",
    "Domain clusters": "Do texts of one domain travel together?",
    "Causes": "Does removing a specialist hurt its own domain?",
    "Prompts": "Which experts does my text use?",
    "Training": "When did the experts settle, and was it worth it?",
    "Redundancy": "Could fewer experts do the same work?",
    "Comparison": "Does DeepSeekMoE beat what came before it?",
    "Import": "What did another engine route?",
    "Export": "What can I take away?",
}
WITHOUT_CHART = {"Import", "Export"}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--disable-dev-shm-usage"]
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'


def main() -> None:
    with server() as url, sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if chromium is None:
            sys.exit("no chromium found")
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[*ARGUMENTS, "--enable-unsafe-swiftshader"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 1200})
        first = timed(page, "Overview", lambda: page.goto(url))
        rounds = [
            {name: timed(page, name, partial(click, page, name)) for name in order()}
            for _ in range(ROUNDS)
        ]
        browser.close()
    seconds = {name: [timing[name] for timing in rounds] for name in PAGES}
    report(first, seconds)


def order() -> list[str]:
    """Overview last: it is never clicked while it is open."""
    return [*list(PAGES)[1:], "Overview"]


def click(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_text(name, exact=True).click()


def timed(page: Page, name: str, action: Callable[[], object]) -> float:
    """Until the heading is there, the script has ended and a chart is drawn."""
    start = time.perf_counter()
    action()
    page.locator(".rs-question", has_text=PAGES[name]).wait_for()
    page.wait_for_selector(IDLE)
    if name not in WITHOUT_CHART:
        page.locator(".js-plotly-plot .main-svg").first.wait_for(state="attached")
    seconds = time.perf_counter() - start
    page.wait_for_timeout(700)  # nothing of this page is left for the next one
    return seconds


@contextmanager
def server() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app", "--server.port", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None:
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def report(first: float, seconds: dict[str, list[float]]) -> None:
    versions = " ".join(f"{name} {version(name)}" for name in ("streamlit", "plotly", "duckdb"))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}\n")
    print(f"first page after the start: {first:.2f} s; the others, {ROUNDS} clicks each:\n")
    print("| page | median s | worst s |\n|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {median(values):.2f} | {max(values):.2f} |")
    worst = max(max(values) for values in seconds.values())
    medians = {name: round(median(values), 2) for name, values in seconds.items()}
    figures = {"first_s": round(first, 2), "median_s": medians, "worst_s": round(worst, 2)}
    print(f"\n{json.dumps(figures | {'bar_s': BAR, 'passed': worst <= BAR})}")


if __name__ == "__main__":
    main()
