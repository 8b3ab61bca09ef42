"""`routescope project`: the maps of a trace, beside it."""

import sys
import time
from pathlib import Path
from typing import Annotated, TextIO

import typer

from app.commands.findings import print_findings
from data.strict_json import json_text

SEED = 0
STAGES = 4


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
    """The tokens at once as the SVD sees them, then each map; the parameters of each by name."""
    from analysis import projection
    from analysis.queries import trace_info
    from app import sidecars
    from data.sidecar import require_replaceable, write_sidecar
    from data.store import open_trace

    with open_trace(trace) as con:
        print_findings(con)
        info = trace_info(con)
        for line in require_replaceable(trace, *sidecars.MAPS.values(), of=info):
            print(line, file=sys.stderr)
        print(f"stage 1/{STAGES}: reading {info.num_tokens:,} tokens", file=progress, flush=True)
        tokens = projection.project_tokens(con, info, seed=SEED)
        write_sidecar(trace, sidecars.TOKENS, *projection.svd_map(tokens), of=info)
        prompts = projection.project_prompts(con, info, seed=SEED)
        experts = projection.project_experts(con, info, seed=SEED)
    made = {}  # experts last: who finds them finds all three finished
    for stage, (what, points) in enumerate(
        {"prompts": prompts, "tokens": tokens, "experts": experts}.items(), 2
    ):
        line = f"stage {stage}/{STAGES}: map of {len(points.frame):,} {what}"
        print(line, file=progress, flush=True)
        frame, made[what] = projection.umap_map(points)
        write_sidecar(trace, sidecars.MAPS[what], frame, made[what], of=info)
    return made
