"""The map of a million tokens in a browser: first drawing, hover, lasso, memory.

    python -m benchmarks.bench_map                 # a synthetic trace of 1,000,000 tokens
    python -m benchmarks.bench_map --trace FILE    # one that has its maps beside it

The trace is synthetic (benchmarks/shapes.py) and its map is that of `routescope project`. Chromium
draws without a graphics card, in 1920 x 1080. In the same run, as the reference: 10,000 of the same
points by Plotly as SVG, which is how the page drew its landmarks before. Prints a table; the last
line is one JSON object.
"""

import argparse
import json
import math
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Page, sync_playwright

from benchmarks import shapes
from benchmarks.bench_pages import IDLE, server

SHAPE = shapes.Shape(layers=8, experts=64, top_k=6, tokens=1_000_000, texts=10_000)
BARS = {"first drawing, s": 4.0, "hover, ms": 50.0, "lasso round trip, s": 1.5}
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
ARGUMENTS += ["--disable-dev-shm-usage"]
TIMES, HOVERS, LANDMARKS = 5, 200, 10_000
JOBS = 300  # seconds that intervals and tests of the trace may take
MOST = 120_000  # milliseconds until something is given up
ADDRESS = "domain_clusters?trace=million"
FIND = """globalThis.findMap = () => {
  for (const host of document.querySelectorAll("*")) {
    const map = host.shadowRoot?.querySelector(".map");
    if (map) return map;
  }
}"""
DRAWN = "() => globalThis.findMap?.()?.dataset.drawn"
CHANGED = "(before) => globalThis.findMap()?.dataset.drawn !== before"
ANSWERED = "(before) => document.querySelector('.rs-answer')?.textContent !== before"
HOVER = """(times) => {
  const map = findMap(), canvas = map.querySelector("canvas"), box = canvas.getBoundingClientRect();
  return Array.from({ length: times }, (_, at) => {
    const place = {
      clientX: box.left + box.width * (0.3 + (0.4 * at) / times),
      clientY: box.top + box.height * (0.3 + 0.4 * ((at * 0.618) % 1)),
    };
    const began = performance.now();
    canvas.dispatchEvent(new PointerEvent("pointermove", { ...place, pointerId: 9 }));
    map.querySelector(".tip").offsetHeight; // laid out
    return performance.now() - began;
  });
}"""
PLOTLY = """
import numpy as np, plotly.graph_objects as go, streamlit as st
x, y = np.load("points.npy")[:, : int(st.query_params["points"])]
st.plotly_chart(go.Figure(go.Scatter(x=x, y=y, mode="markers", marker_size=4)), key="chart")
"""
PLOTTED = "(n) => document.querySelectorAll('.js-plotly-plot .scatterlayer .point').length === n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", type=Path)
    given = parser.parse_args().trace
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trace = folder / "traces" / "million.duckdb"
        trace.parent.mkdir()
        if given:
            for file in given.parent.glob(f"{given.stem}.*"):
                shutil.copyfile(file, trace.parent / file.name.replace(given.stem, "million", 1))
        else:
            shapes.make(trace, SHAPE)
            command = [str(Path(sys.executable).with_name("routescope")), "project", str(trace)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report(measured(folder, trace))


def measured(folder: Path, trace: Path) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if chromium is None:
            sys.exit("no chromium found")
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.set_default_timeout(MOST)
        page.add_init_script(FIND)
        with server(trace.parent) as running:
            address = f"{running.url}/{ADDRESS}"
            figures["first drawing after the server's start, s"] = [opened(page, address)]
            patience = time.perf_counter() + JOBS
            while running.works() and time.perf_counter() < patience:
                time.sleep(1)
            figures["jobs of the trace still running"] = [float(running.works())]
            figures["first drawing, s"] = [opened(page, address) for _ in range(TIMES)]
            figures["hover, ms"] = page.evaluate(HOVER, HOVERS)
            lassos = [lasso(page, number) for number in range(TIMES)]
            for name in lassos[0]:
                figures[name] = [one[name] for one in lassos]
            figures["a step of zoom, ms"] = zoomed(page)
            figures["JS heap, MB"] = [heap(page)]
            page.goto("about:blank")
        frame = pd.read_parquet(trace.with_suffix(".tokens.parquet"), columns=["x", "y"])
        np.save(folder / "points.npy", frame.to_numpy().T)
        with plotly(folder) as url:
            name = f"first drawing of {LANDMARKS:,} points by Plotly, s"
            figures[name] = [plotted(page, url, LANDMARKS) for _ in range(TIMES)]
        browser.close()
    return figures


def opened(page: Page, address: str) -> float:
    """Until all points are drawn."""
    start = time.perf_counter()
    page.goto(address)
    page.wait_for_function(DRAWN)
    page.evaluate("() => new Promise(requestAnimationFrame)")  # what was asked for is on screen
    seconds = time.perf_counter() - start
    settled(page)
    return seconds


def lasso(page: Page, number: int) -> dict[str, float]:
    """A circle around ever more points: until they stand out, until the sentence about them is
    there, and until all tables are."""
    box = page.locator(".map canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.5
    radius = box["height"] * (0.1 + 0.06 * number)
    page.keyboard.down("Shift")
    page.mouse.move(x + radius, y)
    page.mouse.down()
    for turn in range(1, 60):
        angle = turn / 60 * 2 * math.pi
        page.mouse.move(x + radius * math.cos(angle), y + radius * math.sin(angle))
    page.wait_for_timeout(500)
    drawn = page.evaluate("() => findMap().dataset.drawn")
    said = page.locator(".rs-answer").first.text_content()
    start = time.perf_counter()
    page.mouse.up()
    page.keyboard.up("Shift")
    seconds: dict[str, float] = {}
    for name, wait in {
        "lasso until points stand out, s": lambda: page.wait_for_function(CHANGED, arg=drawn),
        "lasso until the sentence, s": lambda: page.wait_for_function(ANSWERED, arg=said),
        "lasso round trip, s": lambda: page.wait_for_selector(IDLE),
    }.items():
        wait()
        seconds[name] = time.perf_counter() - start
    settled(page)
    return seconds


def zoomed(page: Page) -> list[float]:
    """With the wheel, until the next frame."""
    step = """async () => {
      const canvas = findMap().querySelector("canvas"), box = canvas.getBoundingClientRect();
      const place = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 };
      const began = performance.now();
      canvas.dispatchEvent(new WheelEvent("wheel", { ...place, deltaY: -30, cancelable: true }));
      for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
      return performance.now() - began;
    }"""
    return [page.evaluate(step) for _ in range(20)]


def heap(page: Page) -> float:
    """Without what array buffers hold."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"] / 1e6)


def plotted(page: Page, url: str, count: int) -> float:
    return timed(
        lambda: page.goto(f"{url}/?points={count}"),
        lambda: page.wait_for_function(PLOTTED, arg=count),
    )


def timed(*steps: Callable[[], object]) -> float:
    start = time.perf_counter()
    for step in steps:
        step()
    return time.perf_counter() - start


def settled(page: Page) -> None:
    page.wait_for_timeout(700)
    page.wait_for_selector(IDLE)


@contextmanager
def plotly(folder: Path) -> Iterator[str]:
    """A page of Streamlit with the same points and nothing else."""
    (folder / "reference.py").write_text(PLOTLY, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "streamlit", "run", "reference.py", "--server.port", port]
    command += ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def report(figures: dict[str, list[float]]) -> None:
    versions = " ".join(f"{name} {version(name)}" for name in ("streamlit", "plotly", "duckdb"))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print(f"load at the end: {os.getloadavg()[0]:.1f}\n")
    print("| | median | least | most | of | bar |\n|---|---|---|---|---|---|")
    medians = {name: statistics.median(values) for name, values in figures.items()}
    for name, values in figures.items():
        numbers = [medians[name], min(values), max(values)]
        row = " | ".join(f"{number:.2f}" for number in numbers)
        print(f"| {name} | {row} | {len(values)} | {BARS.get(name, '')} |")
    told = {name: round(median, 3) for name, median in medians.items()}
    passed = all(medians[name] <= bar for name, bar in BARS.items())
    print(f"\n{json.dumps({'medians': told, 'bars': BARS, 'passed': passed})}")


if __name__ == "__main__":
    main()
