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
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np

from benchmarks.faults.trace_mutations import mutate, write_bases

PROCESSES = 2
HUNG_SECONDS = 90  # of a page; its own limit is 60
FIRST_FAILURES = 5
KINDS = ("shown", "refused", "uncaught", "hung")  # the worst of its pages is that of a trace
APP = Path(__file__).parents[2] / "app"
PAGES = sorted(path.parent.name for path in APP.glob("views/*/page.py"))


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
    return {"tried": len(kinds), **{kind: kinds.count(kind) for kind in KINDS}}


def _outcomes(seeds: range, folder: Path, bases: list[Path]) -> list[tuple[str, str]]:
    """(kind, what happened) of each; a process that hangs is replaced."""
    folder.mkdir(parents=True)
    outcomes = []
    process, pipe = _started(folder)
    for seed in seeds:
        what = mutate(bases, folder / "next", np.random.default_rng(seed))
        (folder / "next").rename(folder / "mutated.duckdb")
        pages = {}
        for name in PAGES:
            pipe.send(name)
            pages[name] = _answer(pipe)
            if pages[name][0] == "hung":
                process.kill()
                process, pipe = _started(folder)
                break
        kind = max((kind for kind, _ in pages.values()), key=KINDS.index)
        said = next(f"{name}: {text}" for name, (worst, text) in pages.items() if worst == kind)
        outcomes.append((kind, f"{kind}, seed {seed}, {what}; {said}"))
    pipe.send(None)
    process.join()
    shutil.rmtree(folder)
    return outcomes


def _answer(pipe: Connection) -> tuple[str, str]:
    if not pipe.poll(HUNG_SECONDS):
        return "hung", f"after {HUNG_SECONDS} s"
    try:
        return pipe.recv()
    except EOFError:
        return "hung", "the process is gone"


def _started(folder: Path) -> tuple[SpawnProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, folder), daemon=True)
    process.start()
    there.close()  # its end here: without it the end of the process is seen
    here.recv()  # it is ready
    return process, here


def _serve(pipe: Connection, folder: Path) -> None:
    """In a process of its own: the trace of the folder on every page, whenever asked."""
    from streamlit.components.v2 import manifest_scanner

    manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)
    os.environ["ROUTESCOPE_TRACES"] = str(folder)
    os.environ["ROUTESCOPE_MODEL"] = os.environ["ROUTESCOPE_RUNS"] = str(folder / "none")
    _opened(PAGES[0])  # imports what pages need
    pipe.send("ready")
    while (name := pipe.recv()) is not None:
        pipe.send(_opened(name))


def _opened(name: str) -> tuple[str, str]:
    """(kind, the reason given) of one page."""
    from streamlit.testing.v1 import AppTest
    from streamlit.util import calc_hash

    from app.views.shared.trace_choice import UNREADABLE

    app = AppTest.from_file(str(APP / "navigation.py"), default_timeout=2 * HUNG_SECONDS)
    app._page_hash = calc_hash("" if name == "overview" else name)
    app.run()
    if app.exception:
        first = app.exception[0]
        return "uncaught", f"{first.message[:200]} {list(first.stack_trace)[-2:]}"
    refused = UNREADABLE in [error.value for error in app.error]
    return ("refused", app.code[0].value) if refused else ("shown", "")
