"""Record the demo for a release, into data/demo/: what a first start shows at once.

    python -m benchmarks.record_demo                          # captures it: some minutes
    python -m benchmarks.record_demo --trace traces/demo.duckdb

To be run again when the shipped model, the held-out texts, the trace format or the version of what
lies beside a trace has changed: tests/app/studies/test_demo_recording.py says so. A trace that is
given gets beside it what it lacks.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from analysis import queries
from app import cache_kinds, sidecars
from app.commands.cache import cache
from app.commands.demo import demo
from app.commands.information import information
from app.commands.project import project
from app.commands.summarize import summarize
from app.studies import demo_recording
from app.studies.summary import wanted
from data.sidecar import Absent, look_at
from data.sidecar_kind import Kind
from data.store import open_trace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", type=Path, help="a finished demo; otherwise it is captured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trace = arguments.trace or Path(folder) / "demo.duckdb"
        if arguments.trace is None:
            demo(out=trace)
        complete(trace)
        names = demo_recording.record(trace)
    sizes = {name: (demo_recording.FOLDER / name).stat().st_size for name in names}
    for name, size in sizes.items():
        print(f"{size:>10,} {name}")
    print(f"{sum(sizes.values()):>10,} bytes in {demo_recording.FOLDER}")


def complete(trace: Path) -> None:
    """Everything that pages look for beside the demo."""
    with open_trace(trace) as con:
        info = queries.trace_info(con)
    make: list[tuple[Callable[..., None], Iterable[Kind]]] = [
        (summarize, wanted(info)),
        (project, sidecars.MAPS.values()),
        (information, sidecars.BY_INFORMATION),
        (cache, cache_kinds.BY_CACHE),
    ]
    for command, kinds in make:
        if any(isinstance(look_at(trace, kind, of=info), Absent) for kind in kinds):
            command(trace)


if __name__ == "__main__":
    main()
