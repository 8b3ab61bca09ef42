"""How long the page Search takes for every kind of search, with an index beside it and without.

    python -m benchmarks.bench_search TRACE

`routescope index TRACE` comes first. The page runs as in the server, without a browser (AppTest).
"First": nothing is in a cache, as after the server's start; "next": the trace is open, its words
are known, and this search was not asked before. Seconds of the processor, of all threads together,
and in brackets by the clock, which is longer where the machine has other work: the least of several
runs each. Prints Markdown.
"""

import argparse
import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from analysis import queries, word_rows
from app import word_kinds
from app.jobs import beside
from data.sidecar import sidecar_path
from data.store import open_trace

NAVIGATION = Path(__file__).parents[1] / "app" / "navigation.py"
RANKS = {0: "the most frequent token", 30: "the 31st token", 1_000: "the 1,001st token"}
EXPRESSION = "[0-9]5 [a-z]"
WITHIN = "the most frequent token, in a domain"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    for job in ("start", "summary", "words"):  # nothing runs beside what is measured
        setattr(beside, job, lambda trace: None)
    scan = cache(manifest_scanner.scan_component_manifests)  # a server does so once
    manifest_scanner.scan_component_manifests = scan
    asked = searches(arguments.trace)
    columns = {}
    for indexed in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            linked(arguments.trace, Path(folder), indexed=indexed)
            os.environ["ROUTESCOPE_TRACES"] = folder
            for first in (True, False):
                columns[indexed, first] = [
                    seconds(
                        text,
                        regex=kind == "an expression",
                        domain=asked["a domain"] if kind == WITHIN else "",
                        first=first,
                        repeats=arguments.repeats,
                    )
                    for kind, text in asked.items()
                ]
    print("| search | first | next | first, indexed | next, indexed |\n|---|---|---|---|---|")
    for row, (kind, text) in enumerate(asked.items()):
        times = " | ".join(f"{of[row][0]:.2f} ({of[row][1]:.2f})" for of in columns.values())
        print(f"| {kind}, `{text!r}` | {times} |")


def searches(path: Path) -> dict[str, str]:
    """By what they are; of any trace with texts."""
    with open_trace(path, rows=False) as con:
        words = word_rows.token_texts(con).text
        info = queries.trace_info(con)
        text = queries.document_text(con, info.last_doc_id)
    found = {name: words.iloc[rank] for rank, name in RANKS.items() if rank < len(words)}
    found |= {WITHIN: words.iloc[0], "a token that occurs once": words.iloc[-1]}
    found |= {"a phrase": text[:24].strip(), "a phrase that is nowhere": "no such phrase"}
    found |= {"an expression": EXPRESSION, "a domain": info.domains[0]}
    return found | {"an expert": "0:1", "a text": f"#{info.last_doc_id}"}


def linked(trace: Path, folder: Path, *, indexed: bool) -> None:
    """A workspace of this trace, with its index or without."""
    (folder / trace.name).symlink_to(trace.resolve())
    for file in trace.parent.glob(f"{trace.name.removesuffix('.duckdb')}.*.parquet"):
        shutil.copy(file, folder)
    for kind in word_kinds.BY_INDEX:
        path = sidecar_path(folder / trace.name, kind)
        if indexed:
            assert path.exists(), f"{path.name} is missing: routescope index {trace}"
        else:
            path.unlink(missing_ok=True)


def seconds(
    text: str, *, regex: bool, domain: str, first: bool, repeats: int
) -> tuple[float, float]:
    """Of a page that runs to its end: of the processor, and by the clock."""
    run("no such phrase", regex=False)  # what was imported, compiled and opened is not measured
    times = []
    for _ in range(repeats):
        st.cache_data.clear()
        if first:
            st.cache_resource.clear()
        began = time.process_time(), time.perf_counter()
        run(text, regex=regex, domain=domain)
        times.append((time.process_time() - began[0], time.perf_counter() - began[1]))
    return min(cpu for cpu, _ in times), min(clock for _, clock in times)


def run(text: str, *, regex: bool, domain: str = "") -> None:
    app = AppTest.from_file(str(NAVIGATION), default_timeout=120)
    app.query_params["q"] = text
    if regex:
        app.query_params["regex"] = "true"
    if domain:
        app.query_params["domain"] = domain
    app._page_hash = calc_hash("search")
    app.run()
    assert not app.exception, app.exception


if __name__ == "__main__":
    main()
