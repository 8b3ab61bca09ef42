"""Mutated traces through every page: each is shown or refused in one sentence.

A trace is written, then bits of its file are turned or its contents changed by SQL. Two processes
open each one on all pages; one that does not answer is ended and counted as hung.
"""

import multiprocessing
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.faults.trace_mutations import mutate, write_bases

PROCESSES = 2
PAGE_SECONDS = 90  # the app's own limit is 60
FIRST_FAILURES = 5


def run(count: int, seed: int, work: Path) -> dict[str, int | float]:
    """tried, refused, shown, uncaught (an error of Streamlit's), hung."""
    bases = write_bases(work / "bases")
    with ThreadPoolExecutor(PROCESSES) as threads:
        parts = [
            range(seed * 1_000_000 + part, seed * 1_000_000 + count, PROCESSES)
            for part in range(PROCESSES)
        ]
        folders = [work / f"process_{part}" for part in range(PROCESSES)]
        outcomes = [
            outcome
            for part in threads.map(lambda p, f: _outcomes(p, f, bases), parts, folders)
            for outcome in part
        ]
    failures = [text for kind, text in outcomes if kind in ("uncaught", "hung")]
    print(*failures[:FIRST_FAILURES], sep="\n", file=sys.stderr)
    kinds = [kind for kind, _ in outcomes]
    return {"tried": len(kinds)} | {
        kind: kinds.count(kind) for kind in ("refused", "shown", "uncaught", "hung")
    }


def _outcomes(seeds: range, folder: Path, bases: list[Path]) -> list[tuple[str, str]]:
    """(kind, what happened) of each; a process that hangs is replaced."""
    folder.mkdir(parents=True)
    outcomes = []
    process, pipe = _started(folder)
    for seed in seeds:
        what = mutate(bases, folder / "next", np.random.default_rng(seed))
        (folder / "next").rename(folder / "mutated.duckdb")
        pipe.send("open")
        if pipe.poll(PAGE_SECONDS):
            kind, text = pipe.recv()
        else:
            kind, text = "hung", f"after {PAGE_SECONDS} s"
            process.kill()
            process, pipe = _started(folder)
        outcomes.append((kind, f"{kind}, seed {seed}, {what}: {text}"))
    pipe.send(None)
    process.join()
    shutil.rmtree(folder)
    return outcomes


def _started(folder: Path) -> tuple[multiprocessing.Process, Connection]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, folder), daemon=True)
    process.start()
    return process, here


def _serve(pipe: Connection, folder: Path) -> None:
    """In a process of its own: the trace of the folder on every page, whenever asked."""
    from streamlit.components.v2 import manifest_scanner

    manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)
    os.environ["ROUTESCOPE_TRACES"] = str(folder)
    os.environ["ROUTESCOPE_MODEL"] = os.environ["ROUTESCOPE_RUNS"] = str(folder / "none")
    while pipe.recv() is not None:
        pipe.send(_all_pages())


def _all_pages() -> tuple[str, str]:
    from streamlit.testing.v1 import AppTest
    from streamlit.util import calc_hash

    from app.views.shared.trace_choice import UNREADABLE

    app_folder = Path(__file__).parents[2] / "app"
    refusals = []
    for folder in sorted(path.parent for path in app_folder.glob("views/*/page.py")):
        app = AppTest.from_file(str(app_folder / "navigation.py"), default_timeout=PAGE_SECONDS)
        app._page_hash = calc_hash("" if folder.name == "overview" else folder.name)
        app.run()
        if app.exception:
            first = app.exception[0]
            return "uncaught", f"{folder.name}: {first.message[:200]} {first.stack_trace[-2:]}"
        if UNREADABLE in [error.value for error in app.error]:
            refusals.append(app.code[0].value)
    return ("refused", refusals[0]) if refusals else ("shown", "")
