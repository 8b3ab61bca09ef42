"""`routescope prune` and `routescope quantize`: a smaller checkpoint, and what it costs."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from app.commands.capture import INTERRUPTED, Json
from app.commands.progress import progress_bar
from app.studies import compression, redundancy
from app.studies.compression import SALIENCY, SHARE, THRESHOLD, How
from app.studies.reader import HELDOUT, Tracer, load_tracer
from app.studies.scoring import records
from data.report import csv_text

Model = Annotated[Path, typer.Argument(help="Folder of a model; it stays as it is.")]
Out = Annotated[Path, typer.Option(help="A new folder for the smaller one.")]
Texts = Annotated[int, typer.Option(min=1, help="Held-out texts a domain to measure on.")]
Seed = Annotated[int, typer.Option(help="Of the texts drawn and of the intervals.")]


def prune(
    model: Model,
    out: Out,
    by: Annotated[
        str, typer.Option(help="What is alike: outputs, weights, aligned, routing; or saliency.")
    ] = "outputs",
    threshold: Annotated[float, typer.Option(help="Similarity from which one goes.")] = THRESHOLD,
    how: Annotated[
        How, typer.Option(help="A group keeps its most used expert, or its mean.")
    ] = "drop",
    share: Annotated[
        float, typer.Option(help="With --by saliency: of the experts of each layer that go.")
    ] = SHARE,
    text: Annotated[Path, typer.Option(help="Texts to calibrate with.")] = HELDOUT,
    texts: Texts = 20,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a model with fewer experts, and measure it against the one it was made of.

    Example: routescope prune data/checkpoint --out runs/small --by saliency --share 0.125
    """
    from model.compress import pruned

    compression.require_how(by, how)
    require_range(threshold, share)
    compression.require_free(out)
    with stoppable(), compression.new_folder(out) as folder:
        tracer = load_tracer(model)
        used = redundancy.calibration(tracer, text, seed=seed)
        with progress_bar("similarity") as advance:
            found = redundancy.measure(tracer, used, on_progress=advance, seed=seed)
        leader_LE = compression.leaders_by(found, by, threshold=threshold, share=share)
        compression.require_change(found, by, leader_LE, threshold=threshold)
        plan = compression.plan_of(tracer.model, leader_LE, found.tokens_LE, how=how)
        small = compression.write(pruned(tracer.model, plan), model, folder)
        documents = compression.heldout_texts(
            [item.document for item in used], texts=texts, seed=seed
        )
        asked = {"by": by, "how": how} | (
            {"share": share} if by == SALIENCY else {"threshold": threshold}
        )
        table, facts = measured(tracer, small, documents, seed=seed)
        keep(table, asked, facts, folder)
    report(table, asked | facts, out=out, as_json=as_json)


def quantize(
    model: Model, out: Out, texts: Texts = 20, seed: Seed = 0, as_json: Json = False
) -> None:
    """Write a model whose routed experts are INT8, and measure it against the one it was made of.

    Example: routescope quantize data/checkpoint --out runs/int8
    """
    from model.compress import with_int8_experts

    compression.require_free(out)
    with stoppable(), compression.new_folder(out) as folder:
        tracer = load_tracer(model)
        if tracer.model.config.expert_dtype == "int8":
            raise ValueError(f"the experts of {model} are INT8 already")
        small = compression.write(with_int8_experts(tracer.model), model, folder)
        documents = compression.heldout_texts([], texts=texts, seed=seed)
        table, facts = measured(tracer, small, documents, seed=seed)
        keep(table, {"by": "int8", "how": "quantize"}, facts, folder)
    report(table, {"by": "int8", "how": "quantize"} | facts, out=out, as_json=as_json)


def require_range(threshold: float, share: float) -> None:
    """Before anything long begins."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"the threshold ({threshold}) must be between 0 and 1")
    if not 0 < share < 1:
        raise ValueError(f"the share ({share}) must be above 0 and below 1")


@contextmanager
def stoppable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def measured(
    before: Tracer, after: Tracer, documents: list, *, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    with progress_bar("texts") as advance:
        return compression.compared(before, after, documents, seed=seed, on_progress=advance)


def keep(table: pd.DataFrame, asked: dict, facts: dict[str, Any], folder: Path) -> None:
    """Beside the weights, where the page Redundancy finds it."""
    rows = compression.rows(table, asked, facts)
    (folder / compression.FILE).write_text(csv_text(rows), encoding="utf-8", newline="")


def report(table: pd.DataFrame, facts: dict[str, Any], *, out: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**facts, "bits_per_byte": records(table)}))
        return
    (parameters, fewer), (size, smaller) = facts["parameters"], facts["bytes"]
    experts, left = (sum(of_layers) for of_layers in facts["experts_by_layer"])
    print(f"{'experts':<12}{experts:>12,} -> {left:,}")
    print(f"{'parameters':<12}{parameters:>12,} -> {fewer:,} ({fewer / parameters - 1:+.1%})")
    print(f"{'file, bytes':<12}{size:>12,} -> {smaller:,} ({smaller / size - 1:+.1%})")
    print(f"{'seconds':<12}{facts['seconds'][0]:>12} -> {facts['seconds'][1]}, reading the texts")
    changed = facts["changed_choices"]
    span = "" if changed["low"] is None else f" ({changed['low']:.2%} to {changed['high']:.2%})"
    print(f"{'choices':<12}{changed['estimate']:>12.2%} of the gate's choices change{span}")
    print(table.map(lambda v: f"{v:.4f}" if isinstance(v, float) else v).to_string(index=False))
    print(f"bits per byte; low, high: 95 % of other texts, paired. Written to {out}")
