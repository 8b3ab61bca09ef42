"""`routescope experts`: which experts to prune, merge, quantize, tune and watch."""

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.export import By, Score
from app.commands.findings import print_findings
from app.commands.numbers import count_option, seed_option, share_of_probability
from app.commands.progress import progress_bar
from app.commands.signals import leaving, nothing
from data.strict_json import json_text

if TYPE_CHECKING:
    from app.studies.expert_lists.subject import ExpertList, Subject

FEW = 12  # rows of a list that are printed


class ListKind(StrEnum):
    PRUNE = "prune"
    MERGE = "merge"
    QUANTIZE = "quantize"
    TUNE = "tune"
    WATCH = "watch"


class Form(StrEnum):
    ESFT = "esft"
    PEFT = "peft"


BOTH = (ListKind.PRUNE, ListKind.MERGE)
OF = {  # options of some lists alone
    "form": (ListKind.TUNE,),
    "keep": BOTH,
    "by": (ListKind.PRUNE,),
    "domain": (ListKind.TUNE,),
    "score": (ListKind.TUNE,),
    "top_p": (ListKind.TUNE,),
    "needed": (ListKind.QUANTIZE,),
    "window": (ListKind.WATCH,),
    "later": (ListKind.WATCH,),
    **dict.fromkeys(("model", "texts", "seed"), BOTH),
}


def experts(
    context: typer.Context,
    trace: Annotated[Path, typer.Argument(help="A trace: a .duckdb file.")],
    kind: Annotated[ListKind, typer.Option("--list", help="What the experts are for.")],
    out: Annotated[
        Path | None,
        typer.Option(help="New file: .json for other tools, .csv with all figures."),
    ] = None,
    form: Annotated[
        Form, typer.Option("--as", help="Of tune: what a .json file is for.")
    ] = Form.ESFT,
    keep: Annotated[
        int | None,
        count_option("Of prune and merge: experts of each layer to keep; three quarters if not."),
    ] = None,
    by: Annotated[By, typer.Option(help="Of prune: which are kept.")] = By.LOAD,
    domain: Annotated[
        str | None, typer.Option(help="Of tune: whose texts; the first domain if not given.")
    ] = None,
    score: Annotated[Score, typer.Option(help="Of tune: which are selected.")] = Score.TOKEN,
    top_p: Annotated[
        float,
        typer.Option(
            callback=share_of_probability,
            help="Of tune: share of a layer's score that the selected experts make up.",
        ),
    ] = 0.2,
    needed: Annotated[
        int, count_option("Of quantize: tokens with which an expert is calibrated.")
    ] = 1_000,
    window: Annotated[int, count_option("Of watch: tokens of a window of the monitor.")] = 100_000,
    later: Annotated[
        Path | None,
        typer.Option(help="Of watch: a later trace; the trace's own halves if not given."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Of prune and merge: the model of the trace, to measure their cost."),
    ] = None,
    texts: Annotated[int, count_option("With --model: held-out texts per domain.")] = 20,
    seed: Annotated[int, seed_option("With --model: seed of the texts drawn.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List experts with how sure the list is, and what it carries in texts that did not choose it.

    Each half of the groups of texts chooses a list, and the other half measures it.

    Example: routescope experts traces/demo.duckdb --list tune --domain code --out code.json
    """
    from app.studies.expert_lists.cost import require_model
    from app.studies.expert_lists.making import make
    from app.studies.expert_lists.output import require_new, write
    from app.studies.expert_lists.subject import Settings, Subject
    from data.store import open_trace

    settings = Settings(
        kind=kind.value,
        keep=keep,
        by=by.value,
        domain=domain,
        score=score.value,
        top_p=top_p,
        needed=needed,
        window=window,
    )
    require_only_where_used(context, kind)
    if out is not None:
        require_new(out)
    with leaving(nothing), open_trace(trace) as con:
        print_findings(con)
        subject, other = Subject(con), None
        if model is not None:
            require_model(subject, model)
        if later is not None:
            with open_trace(later) as con_later:
                other = Subject(con_later)
        found = make(subject, settings, later=other, model=model)
        cost = None if model is None else _cost(found, subject, model, texts=texts, seed=seed)
        if out is not None:
            write(found, out, form=form.value if kind is ListKind.TUNE else None)
    if as_json:
        print(json_text(_as_json(found) | {"cost": cost}))
        return
    _print(found, cost)
    if out is not None:
        print(f"Written to {out}")


def require_only_where_used(context: typer.Context, kind: ListKind) -> None:
    """ValueError: an option was given that this list does not take."""
    flags = {str(option.name): option.opts[0] for option in context.command.params}
    sources = {name: context.get_parameter_source(name) for name in OF}
    given = {name for name, source in sources.items() if source and source.name != "DEFAULT"}
    for name in OF:
        if name in given and kind not in OF[name]:
            raise ValueError(f"{flags[name]} is of --list {' and '.join(OF[name])}, not of {kind}")
        if name in given & {"texts", "seed"} and "model" not in given:
            raise ValueError(f"{flags[name]} is of the texts that --model measures with; give both")


def _cost(
    found: "ExpertList", subject: "Subject", model: Path, *, texts: int, seed: int
) -> list[dict[str, object]]:
    """Bits per byte of the model with and without the experts, a row a domain."""
    from app.studies.expert_lists.cost import measured_cost
    from app.studies.scoring import records

    with progress_bar("texts") as advance:
        costs = measured_cost(found, subject, model, texts=texts, seed=seed, on_progress=advance)
    return records(costs.bits_per_byte)


def _as_json(found: "ExpertList") -> dict[str, object]:
    from app.studies.scoring import records

    return {
        "settings": asdict(found.settings),
        "answer": found.answer,
        "notes": list(found.notes),
        "list": records(found.listed),
        "held_out": records(found.measured),
        **{name: records(table) for name, table in found.more.items()},
    }


def _print(found: "ExpertList", cost: list[dict[str, object]] | None) -> None:
    import pandas as pd

    print(found.answer)
    for note in found.notes:
        print(note, file=sys.stderr)
    known = len(found.measured) and found.measured.estimate.notna().any()
    measured = [found.measured] if known else []
    tables = [*measured, found.listed.head(FEW), *found.more.values(), pd.DataFrame(cost)]
    for table in tables:
        if len(table):
            shown = table.loc[:, ~(table.isna() | (table == "")).all()]
            cells = shown.map(lambda v: f"{v:.4g}" if isinstance(v, float) and v == v else v)
            print(cells.astype(object).where(cells.notna(), "-").to_string(index=False))
    if len(found.listed) > FEW:
        print(f"{FEW} of {len(found.listed):,} rows; --out FILE.csv has all")
    if cost is not None:
        ends = any(row["low"] is not None for row in cost)
        paired = "; low, high: paired 95 % interval over groups of texts" if ends else ""
        print(f"bits per byte{paired}")
