"""`routescope merge`: several traces of one model as one."""

import time
from pathlib import Path
from typing import Annotated

import typer

from app.commands.capture import Json
from app.commands.findings import print_findings
from app.commands.signals import leaving, nothing
from app.commands.summarize import Summary, summarize_large
from data.merge import merge_traces
from data.store import open_trace
from data.strict_json import json_text
from data.words import counted


def merge(
    traces: Annotated[
        list[Path],
        typer.Argument(help="Two or more traces of one model, or folders of their shards."),
    ],
    out: Annotated[Path, typer.Option(help="The trace to write, a .duckdb file.")],
    summary: Summary = True,
    as_json: Json = False,
) -> None:
    """Merge traces that different processes captured into one; the originals stay as they are.

    Documents keep their ids, so give every process different documents.

    Example: routescope merge traces/a.duckdb traces/b.duckdb --out traces/both.duckdb
    """
    start = time.perf_counter()
    with leaving(nothing):
        documents = merge_traces(traces, out)
    with open_trace(out) as con:
        print_findings(con)
    seconds = round(time.perf_counter() - start, 2)
    if as_json:
        print(json_text({"path": str(out), "documents": documents, "seconds": seconds}))
    else:
        print(f"{out}: {counted(documents, 'document', 'documents')} in {seconds} s")
    summarize_large(out, wanted=summary, quiet=as_json)
