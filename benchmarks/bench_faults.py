"""What breaks: killed commands, damaged files, hostile prompts, many browsers.

    python -m benchmarks.bench_faults                          # all, as in the results
    python -m benchmarks.bench_faults traces --count 50 --seed 3

Prints what was counted, a line each; exit code 1 where something was lost, uncaught or hung. The
last line is one JSON object.
"""

import argparse
import importlib
import json
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

COUNTS = {  # kills over five commands; files; files; files; seconds of eight browsers
    "kills": 500,
    "traces": 500,
    "sidecars": 500,
    "prompts": 20_000,
    "browsers": 180,
}
FAULTS = ("lost", "doubled", "torn", "leftovers", "uncaught", "hung", "stale", "errors")
PACKAGES = ("duckdb", "streamlit", "pyarrow", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("themes", nargs="*", help=f"of {', '.join(COUNTS)}; all if none is named")
    parser.add_argument("--count", type=int, help="instead of that of the results")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if unknown := set(arguments.themes) - set(COUNTS):
        parser.error(f"no theme {unknown.pop()!r}; there are {', '.join(COUNTS)}")
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"Python {platform.python_version()}, {versions}; seed {arguments.seed}")
    figures: dict[str, dict[str, int | float]] = {}
    for theme in arguments.themes or COUNTS:
        run = importlib.import_module(f"benchmarks.faults.{theme}").run
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="faults-") as work:
            counted = run(arguments.count or COUNTS[theme], arguments.seed, Path(work))
        figures[theme] = counted | {"seconds": round(time.perf_counter() - started)}
        print(theme, "  ".join(f"{name} {value:,}" for name, value in figures[theme].items()))
    print(json.dumps(figures))
    if any(counted.get(fault) for counted in figures.values() for fault in FAULTS):
        sys.exit(1)


if __name__ == "__main__":
    main()
