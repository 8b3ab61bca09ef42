"""`routescope cache`: how often a cache of experts hits, by policy and size, beside the trace."""

import sys
import time
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.findings import print_findings
from app.commands.numbers import count_option, real_option
from data.strict_json import json_text

if TYPE_CHECKING:
    import pandas as pd

LEAST = 10_000  # choices: of fewer nothing is filled
ACCESSES = 2_500_000  # of each half
MOST_ACCESSES = 50_000_000  # in memory
FASTEST = 100_000  # GB/s
CHOSEN = ["per_layer", "cold", "layer_id"]  # the same in all rows that are printed
BANDWIDTH = 25.0  # GB/s: what PCIe 4.0 x16 carries in practice


def cache(
    trace: Annotated[Path, typer.Argument(help="A trace: a .duckdb file.")],
    slots: Annotated[
        str,
        typer.Option(
            metavar="N,N,...",
            help="Sizes of the cache: how many experts of all layers it holds. By default 5 to "
            "90 % of them, as far as the experts of a token fit.",
        ),
    ] = "",
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="Print the cache divided among the layers.")
    ] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="Print the cache that is emptied before every text.")
    ] = False,
    bandwidth: Annotated[
        float, real_option("GB/s into the cache.", least=0.001, most=FASTEST)
    ] = BANDWIDTH,
    expert_bytes: Annotated[
        int | None, count_option("Of one expert; by default as the model's configuration says.")
    ] = None,
    accesses: Annotated[
        int, count_option("Choices to replay, in whole texts.", least=LEAST, most=MOST_ACCESSES)
    ] = ACCESSES,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Replay what tokens chose through a cache of experts: LRU, LFU, fixed, least-stale, with
    prefetching, and Belady's bound.

    One half of the groups of texts is replayed; what is fitted is fitted to the other. Four caches
    are written beside the trace, one pool or divided among the layers, kept warm or emptied before
    every text: NAME.cache.parquet, NAME.cache_predictions.parquet. One of them is printed.

    Example: routescope cache traces/demo.duckdb --slots 64,128 --bandwidth 25
    """
    from analysis.expert_bytes import expert_bytes as configured_bytes
    from analysis.offload.table import of_all_layers, with_costs
    from analysis.queries import trace_info
    from app import cache_kinds
    from app.studies.offload import in_words, measure, unsure
    from data.sidecar import require_replaceable, write_sidecar
    from data.store import open_trace

    start, out = time.perf_counter(), sys.stderr if as_json else sys.stdout
    asked = _sizes(slots)
    with open_trace(trace) as con:
        print_findings(con)
        info = trace_info(con)
        for line in require_replaceable(trace, *cache_kinds.BY_CACHE, of=info):
            print(line, file=sys.stderr)
        found = measure(
            con,
            info,
            accesses=accesses,
            slots=asked,
            per_layer=per_layer,
            told=lambda line: print(line, file=out, flush=True),
        )
    made = [
        write_sidecar(trace, cache_kinds.PREDICTIONS, found.predictions, {}, of=info).name,
        write_sidecar(
            trace, cache_kinds.HIT_RATES, found.hit_rates, found.parameters, of=info
        ).name,
    ]
    size = expert_bytes or configured_bytes(info)
    shown = of_all_layers(found.hit_rates, per_layer=per_layer, cold=cold)
    shown = with_costs(shown, expert_bytes=size, bandwidth=bandwidth * 1e9)
    seconds = round(time.perf_counter() - start, 1)
    if as_json:
        facts = {"seconds": seconds, "files": made, **found.parameters, "expert_bytes": size}
        tables = {"caches": shown, "predictions": found.predictions}
        print(json_text(facts | {name: _records(table) for name, table in tables.items()}))
        return
    print(_in_columns(shown.drop(columns=CHOSEN)), _in_columns(found.predictions), sep="\n\n")
    print(in_words(found.parameters, info.num_documents, whole=True), file=sys.stderr)
    if note := unsure(shown):
        print(note, file=sys.stderr)
    if size is None:
        print("how large an expert is cannot be told: --expert-bytes gives megabytes and times")
    print(f"done in {seconds} s: {', '.join(made)}")


def _sizes(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):
        raise typer.BadParameter(
            f"--slots {text[:40]!r} are no numbers of slots; give some such as 64,128,256"
        )
    return sorted({int(part) for part in parts})


def _records(table: "pd.DataFrame") -> list[dict[Hashable, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _in_columns(table: "pd.DataFrame") -> str:
    known = table.dropna(axis=1, how="all")
    return known.to_string(index=False, float_format="{:.3f}".format, na_rep="")
