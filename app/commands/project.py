"""`routescope project`: the maps of a trace, beside it."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from app.commands.findings import print_findings
from data.strict_json import json_text

if TYPE_CHECKING:
    from analysis.projection import Points

SEED = 0
STAGES = 4
EVERY = 2.0  # seconds: a job can be stopped at every line


def project(
    trace: Annotated[Path, typer.Argument(help="A trace: a .duckdb file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Lay out the tokens, prompts and experts of a trace by their routing, and cluster them.

    Written beside the trace: NAME.tokens.parquet, NAME.prompts.parquet, NAME.experts.parquet.

    Example: routescope project traces/demo.duckdb
    """
    start = time.perf_counter()
    made = _write_maps(trace, progress=sys.stderr if as_json else sys.stdout)
    seconds = round(time.perf_counter() - start, 1)
    if as_json:
        print(json_text({"seconds": seconds, **made}))
    else:
        print(f"done in {seconds} s: {trace.stem}.{{{','.join(made)}}}.parquet")


def _write_maps(trace: Path, *, progress: TextIO) -> dict[str, dict[str, object]]:
    """The parameters of each by name."""
    from analysis import projection
    from analysis.queries import trace_info
    from app import sidecars
    from data.sidecar import require_replaceable, write_sidecar
    from data.store import open_trace

    made = dict[str, dict[str, object]]()

    def stage(number: int, line: str) -> None:
        print(f"stage {number}/{STAGES}: {line}", file=progress, flush=True)

    def lay_out(number: int, what: str, points: "Points") -> None:
        from analysis.layout import umap_map

        stage(number, f"map of {len(points.reduced_PS):,} {what}")
        drawn = umap_map(points)
        kind = sidecars.MAPS[what]
        write_sidecar(trace, kind, drawn.frame, drawn.parameters, of=info, rest=drawn.rest)
        made[what] = drawn.parameters

    with open_trace(trace, rows=False) as con:
        print_findings(con)
        info = trace_info(con)
        for line in require_replaceable(trace, *sidecars.MAPS.values(), of=info):
            print(line, file=sys.stderr)
        stage(1, f"reading {info.num_tokens:,} tokens")
        tokens = projection.project_tokens(con, info, seed=SEED)
        prompts = projection.project_prompts(con, info, seed=SEED)
        experts = projection.project_experts(con, info, seed=SEED)  # all there are, or none
        lay_out(2, "prompts", prompts)
        tell = _told(len(tokens.rest), progress)
        tokens = projection.with_all_tokens(con, info, tokens, tell=tell)
    lay_out(3, "tokens", tokens)
    lay_out(4, "experts", experts)  # last: who finds them finds all three finished
    return made


def _told(total: int, progress: TextIO) -> Callable[[int], None]:
    """A line every few seconds."""
    last = time.perf_counter()

    def tell(read: int) -> None:
        nonlocal last
        if time.perf_counter() > last + EVERY:
            last = time.perf_counter()
            print(f"{read:,} of {total:,} tokens read", file=progress, flush=True)

    return tell
