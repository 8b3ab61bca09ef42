"""`routescope export`: what other tools read of a trace."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.commands.findings import print_findings
from app.commands.numbers import count_option, share_of_probability
from app.commands.signals import leaving, nothing
from data.strict_json import json_text

FORMS = (
    "sglang, sglang-counts, vllm-ascend, llmcompressor, esft, esft-scores, eplb, olmoe, parquet, "
    "jsonl"
)


class By(StrEnum):
    LOAD = "load"
    WEIGHT = "weight"


class Score(StrEnum):
    TOKEN = "token"
    GATE = "gate"


def export(
    trace: Annotated[Path, typer.Argument(help="A trace: a .duckdb file.")],
    form: Annotated[str, typer.Option("--as", metavar="NAME", help=f"One of {FORMS}.")],
    out: Annotated[Path, typer.Option(help="New file; a folder of parquet and jsonl.")],
    devices: Annotated[
        int | None, count_option("Of vllm-ascend: devices that share the experts.")
    ] = None,
    keep: Annotated[
        int | None, count_option("Of llmcompressor: experts of each layer to keep.")
    ] = None,
    by: Annotated[By, typer.Option(help="Of llmcompressor: which are kept.")] = By.LOAD,
    score: Annotated[Score, typer.Option(help="Of esft: which are selected.")] = Score.TOKEN,
    top_p: Annotated[
        float,
        typer.Option(
            callback=share_of_probability,
            help="Of esft: share of a layer's score that the selected experts make up.",
        ),
    ] = 0.2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a trace, or what can be said of its experts, as another tool reads it.

    Layers are numbered as in the model where their names hold a number (model.layers.3.mlp is 3),
    else from 0 over the layers with experts; vllm-ascend and EPLB always count so.

    Example: routescope export traces/demo.duckdb --as eplb --out loads.json
    """
    from app.studies import exports
    from data.store import open_trace

    chosen = exports.named(form)
    settings = exports.Settings(devices=devices, keep=keep, by=by, score=score, top_p=top_p)
    chosen.require_new(out)
    with leaving(nothing), open_trace(trace) as con:
        print_findings(con)
        notes = chosen.write(exports.Subject(con, settings), out)
    if as_json:
        print(json_text({"path": str(out), "as": form, "notes": notes}))
        return
    print(f"{out}: {chosen.title}")
    for note in notes:
        print(note, file=sys.stderr)
