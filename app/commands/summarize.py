"""`routescope summarize`: the intervals and tests of a trace, beside it."""

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from app.commands.findings import print_findings
from app.commands.signals import leaving
from app.error_line import is_foreseen, line_of
from data.strict_json import json_text

Summary = Annotated[
    bool,
    typer.Option(
        help="Compute intervals and tests of a large trace at the end, for the pages to find."
    ),
]


def summarize(
    trace: Annotated[Path, typer.Argument(help="A trace: a .duckdb file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compute the intervals and tests that the pages show, so that they find them.

    Written beside the trace: NAME.lifts.parquet, .domain_counts, .metrics, .loads, .sample and
    .replication, of a corpus .units too. What is there already is kept. Of a large trace the pages
    show estimates until then, and start this by themselves; of a small one they need none of it.

    Example: routescope summarize traces/mine.duckdb
    """
    start = time.perf_counter()
    made = write_summary(trace, quiet=as_json, findings=True)
    seconds = round(time.perf_counter() - start, 1)
    if as_json:
        print(json_text({"seconds": seconds, "files": made}))
    elif made:
        print(f"done in {seconds} s: {', '.join(made)}")
    else:
        print("everything is there already")


def summarize_large(trace: Path, *, wanted: bool, quiet: bool) -> None:
    """At the end of a command that has made a trace: of one that pages are too slow for. That
    trace is there, whatever fails here."""
    from analysis.queries import trace_info
    from app.studies.summary import is_large
    from data.store import open_trace

    if not wanted:
        return
    with open_trace(trace) as con:
        info = trace_info(con)
    if not is_large(info) or not (info.num_tokens or info.counts_only):
        return
    try:
        write_summary(trace, quiet=quiet)
    except Exception as error:
        if not is_foreseen(error):
            raise
        command = f"routescope summarize {shlex.quote(str(trace))}"
        line = f"`{command}` makes its intervals and tests, which failed: {line_of(error)}"
        print(f"{trace} is complete; {line}", file=sys.stderr)


def write_summary(trace: Path, *, quiet: bool, findings: bool = False) -> list[str]:
    """The names of the files that were missing; `quiet`: nothing on standard output."""
    from analysis.queries import trace_info
    from app.studies.summary import summarize, wanted
    from data.sidecar import require_replaceable
    from data.store import open_trace

    def tell(done: int, total: int, what: str) -> None:
        line = f"stage {done + 1}/{total}: {what}"
        print(line, file=sys.stderr if quiet else sys.stdout, flush=True)

    with leaving(lambda: "what was finished is beside the trace"), open_trace(trace) as con:
        if findings:
            print_findings(con)
        info = trace_info(con)
        for line in require_replaceable(trace, *wanted(info), of=info):
            print(line, file=sys.stderr)
        return summarize(con, info, trace, on_stage=tell)
