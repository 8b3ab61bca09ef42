"""`routescope ablate`: does removing a specialist hurt its own domain?"""

import sys
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from analysis import queries
from analysis.cause_tests import CLAIM, with_verdicts
from app.commands.capture import Json
from app.commands.findings import print_findings
from app.commands.loading import Device, Dtype, Model, model_folder
from app.commands.numbers import count_option, seed_option
from app.commands.progress import progress_bar
from app.commands.signals import leaving, nothing
from app.sidecars import CAUSES
from app.studies import ablation, cause_words, claims
from app.studies.reader import CHECKPOINT, Loading, load_tracer
from data.sidecar import require_replaceable
from data.store import open_trace
from data.strict_json import json_text

PRINTED = [
    *CLAIM,
    *("group", "estimate", "low", "high", "p", "q", "per_choice"),
    *("n_groups", "n_tokens", "n_controls", "control_choices", "verdict"),
]


def ablate(
    trace: Annotated[Path, typer.Option(help="A trace with labelled texts.")],
    experts: Annotated[
        str | None,
        typer.Option(help="LAYER:EXPERT, comma-separated; by default the clearest specialists."),
    ] = None,
    model: Model = CHECKPOINT,
    device: Device = None,
    dtype: Dtype = None,
    top: Annotated[int, count_option("Without --experts: how many specialists per domain.")] = 1,
    tokens: Annotated[int, count_option("Minimum number of tokens per domain.")] = 4_000,
    seed: Annotated[int, seed_option("Seed for drawing texts and controls.")] = 0,
    as_json: Json = False,
) -> None:
    """Leave experts out and measure the loss on their own domain and the others, beside control
    experts that are chosen as often in that domain. One half of the texts chooses the specialists,
    the other half judges them.

    Example: routescope ablate --trace traces/demo.duckdb --experts 3:17,5:2
    """
    with open_trace(trace) as con:
        print_findings(con)
        info = queries.trace_info(con)
        named = None if experts is None else claims.parse_experts(experts, info)
        model = model_folder(model)
        ablation.require_usable(model, info)
        for line in require_replaceable(trace, CAUSES, of=info):
            print(line, file=sys.stderr)
        tracer = load_tracer(model, Loading(device=device, dtype=dtype))
        halves = claims.halves(con, info)
        plan = ablation.plan(
            con,
            info,
            halves,
            claims.targets_of(halves.lifts, named, top=top),
            tokens_per_domain=tokens,
            seed=seed,
        )
    print(plan.summary(plan.seconds(tracer)), file=sys.stderr)
    started = time.perf_counter()
    with leaving(nothing), progress_bar("batches") as advance:
        rows = ablation.ablate(tracer, plan, on_progress=advance)
    print(f"took {ablation.duration(time.perf_counter() - started)}", file=sys.stderr)
    whole = with_verdicts(ablation.joined(trace, info, rows))
    try:
        ablation.store(trace, info, rows, {"seed": seed, "tokens_per_domain": tokens})
    finally:  # what was measured is printed even where it cannot be stored
        _report(whole, rows, as_json=as_json)


def _report(whole: pd.DataFrame, rows: pd.DataFrame, *, as_json: bool) -> None:
    measured = whole[whole.claimed].merge(rows[CLAIM].drop_duplicates(), on=CLAIM)
    if as_json:
        print(json_text(measured.astype(object).where(measured.notna(), None).to_dict("records")))
        return
    shown = measured[PRINTED].astype(object).where(measured[PRINTED].notna(), "-")
    print(shown.to_string(index=False, float_format="{:.4f}".format))
    print(cause_words.headline(whole))
    if rates := cause_words.beside(whole, {}):
        print(rates)
