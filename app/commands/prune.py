"""`routescope prune` and `routescope quantize`: a smaller checkpoint, and what it costs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.commands.capture import Json
from app.commands.numbers import count_option, real_option, seed_option
from app.commands.progress import progress_bar
from app.commands.signals import leaving, nothing
from app.studies import redundancy
from app.studies.compression import theirs
from app.studies.compression.costs import Costs, compare
from app.studies.compression.folder import write_model
from app.studies.compression.plan import without_experts
from app.studies.compression.result import write_result
from app.studies.compression.rule import SHARE, THRESHOLD, How, Rule, Settings
from app.studies.compression.texts import unseen_texts
from app.studies.reader import HELDOUT, Tracer, load_tracer, own_model
from app.studies.scoring import records
from data.outputs import new_folder
from data.routing import Document
from data.strict_json import json_text

Model = Annotated[
    Path, typer.Argument(help="Folder of a model, ours or of transformers, which stays as it is.")
]
Out = Annotated[Path, typer.Option(help="New folder for the smaller model.")]
Texts = Annotated[int, count_option("Held-out texts per domain to measure on.")]
Seed = Annotated[int, seed_option("Seed of the texts drawn and of the intervals.")]


def prune(
    model: Model,
    out: Out,
    by: Annotated[
        str, typer.Option(help="The similarity: outputs, weights, aligned or routing; or saliency.")
    ] = "outputs",
    threshold: Annotated[
        float,
        real_option("Similarity from which one of two experts is removed.", least=0, most=1),
    ] = THRESHOLD,
    how: Annotated[
        How,
        typer.Option(help="drop keeps a group's most used expert, merge the mean of the group."),
    ] = "drop",
    share: Annotated[
        float,
        real_option(
            "With --by saliency: share of each layer's experts to remove.", least=0, most=1
        ),
    ] = SHARE,
    text: Annotated[Path, typer.Option(help="Texts to calibrate with.")] = HELDOUT,
    texts: Texts = 20,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a model with fewer experts, and compare it with the original. Of a model of
    transformers, whose experts get new ids, by saliency alone (docs/models.md).

    Example: routescope prune data/checkpoint --out runs/small --by saliency --share 0.125
    """
    from model.fingerprint import is_transformers

    rule = Rule(by=by, how=how, threshold=threshold, share=share)
    with leaving(nothing), new_folder(out) as folder:
        if is_transformers(model):
            theirs.require_prunable(model, rule)
        tracer = load_tracer(model)
        used = redundancy.calibration(tracer.model, text, seed=seed)
        with progress_bar("similarity") as advance:
            known = redundancy.measure(tracer, used, on_progress=advance, seed=seed)
        if is_transformers(model):
            small = theirs.write_pruned(tracer, rule, known, folder)
        else:
            smaller = without_experts(own_model(tracer).transformer, rule, known)
            small = write_model(smaller, model, folder)
        documents = unseen_texts([item.document for item in used], texts=texts, seed=seed)
        costs = measure_costs(tracer, small, documents, rule.settings(), seed=seed)
    report(rule.settings(), costs, out=out, as_json=as_json)


def quantize(
    model: Model, out: Out, texts: Texts = 20, seed: Seed = 0, as_json: Json = False
) -> None:
    """Write a model with INT8 routed experts, and compare it with the original. That of a model of
    transformers is read by RouteScope alone.

    Example: routescope quantize data/checkpoint --out runs/int8
    """
    from model.compress import with_int8_experts
    from model.fingerprint import is_transformers

    settings = {"by": "int8", "how": "quantize"}
    with leaving(nothing), new_folder(out) as folder:
        tracer = load_tracer(model)
        if is_transformers(model):
            small = theirs.write_int8(model, folder)
        else:
            whole = own_model(tracer).transformer
            if whole.config.expert_dtype == "int8":
                raise ValueError(f"the experts of {model} are already INT8")
            small = write_model(with_int8_experts(whole), model, folder)
        documents = unseen_texts([], texts=texts, seed=seed)
        costs = measure_costs(tracer, small, documents, settings, seed=seed)
    report(settings, costs, out=out, as_json=as_json)


def measure_costs(
    before: Tracer, after: Tracer, documents: list[Document], settings: Settings, *, seed: int
) -> Costs:
    """Those of the smaller model, left beside its weights too."""
    with progress_bar("texts") as advance:
        costs = compare(before, after, documents, seed=seed, on_progress=advance)
    write_result(settings, costs, after.folder)
    return costs


def report(settings: Settings, costs: Costs, *, out: Path, as_json: bool) -> None:
    if as_json:
        table = records(costs.bits_per_byte)
        print(json_text({**settings, **asdict(costs), "bits_per_byte": table}))
        return
    (parameters, fewer), (size, smaller) = costs.parameters, costs.bytes
    experts, left = (sum(of_layers) for of_layers in costs.experts_by_layer)
    print(f"{'experts':<12}{experts:>12,} -> {left:,}")
    print(f"{'parameters':<12}{parameters:>12,} -> {fewer:,} ({fewer / parameters - 1:+.1%})")
    print(f"{'file, bytes':<12}{size:>12,} -> {smaller:,} ({smaller / size - 1:+.1%})")
    print(f"{'seconds':<12}{costs.seconds[0]:>12} -> {costs.seconds[1]}, reading the texts")
    changed = costs.changed_choices
    span = "" if changed["low"] is None else f" ({changed['low']:.2%} to {changed['high']:.2%})"
    print(f"{'choices':<12}{changed['estimate']:>12.2%} of the gate's choices change{span}")
    cells = costs.bits_per_byte.map(lambda v: f"{v:.4f}" if isinstance(v, float) else v)
    print(cells.astype(object).where(cells.notna(), "-").to_string(index=False))
    print(f"bits per byte; low, high: paired 95 % interval over groups of texts. Written to {out}")
