"""`routescope project`: the maps of a trace, beside it."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

SEED = 0


def project(
    trace: Annotated[Path, typer.Argument(help="A trace: a .duckdb file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Lay out the tokens, prompts and experts of a trace by their routing, and cluster them.

    Written beside the trace as <name>.tokens.parquet, .prompts.parquet and .experts.parquet.

    Example: routescope project traces/demo.duckdb
    """
    from data.store import open_trace

    from analysis import projection
    from analysis.queries import trace_info
    from data.sidecar import write_sidecar

    start = time.perf_counter()
    written: dict[str, dict[str, Any]] = {}

    def say(stage: int, text: str) -> None:
        print(f"stage {stage}/4: {text}", file=sys.stderr if as_json else sys.stdout, flush=True)

    def write(what: str, made: tuple[Any, dict[str, Any]]) -> None:
        frame, parameters = made
        write_sidecar(trace, what, frame, parameters | identity)
        written[what] = parameters

    with open_trace(trace) as con:
        info = trace_info(con)
        identity = {"trace": info.name, "created_at": info.created_at.isoformat()}
        say(1, f"reading the routing of {info.num_tokens:,} tokens")
        tokens = projection.project_tokens(con, info, seed=SEED)
        write("tokens", projection.svd_map(tokens))
        prompts = projection.project_prompts(con, info, seed=SEED)
        experts = projection.project_experts(con, info, seed=SEED)
    say(2, f"map of {len(prompts.frame):,} prompts")
    write("prompts", projection.umap_map(prompts))
    say(3, f"map of {len(tokens.frame):,} tokens")
    write("tokens", projection.umap_map(tokens))
    say(4, f"map of {len(experts.frame):,} experts")  # last: then all three are there
    write("experts", projection.umap_map(experts))
    seconds = round(time.perf_counter() - start, 1)
    if as_json:
        print(json.dumps({"seconds": seconds, **written}))
    else:
        print(
            f"done in {seconds} s: {', '.join(f'{trace.stem}.{what}.parquet' for what in written)}"
        )
