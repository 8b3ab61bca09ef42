"""`routescope place`: which expert lies on which GPU, and what that costs on other texts."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.findings import print_findings
from app.commands.numbers import count_option
from app.commands.signals import leaving, nothing
from data.strict_json import json_text
from data.words import counted

if TYPE_CHECKING:
    from analysis.placement.table import Compared
    from app.studies.placement import Planned


class Policy(StrEnum):
    IN_ORDER = "in-order"
    GREEDY = "greedy"
    EPLB = "eplb"
    EPLB_GLOBAL = "eplb-global"
    COACTIVATION = "coactivation"


class Phase(StrEnum):
    PREFILL = "prefill"
    DECODE = "decode"


class Form(StrEnum):
    SGLANG = "sglang"
    VLLM_ASCEND = "vllm-ascend"


def place(
    trace: Annotated[Path, typer.Argument(help="A trace: a .duckdb file.")],
    gpus: Annotated[int, count_option("GPUs that share the experts of a layer.")],
    nodes: Annotated[int, count_option("Machines that share the GPUs.")] = 1,
    redundant: Annotated[
        int, count_option("Copies of busy experts, beyond one of each.", least=0)
    ] = 0,
    groups: Annotated[
        int | None, count_option("Groups of experts, for EPLB; by default as the model has them.")
    ] = None,
    policy: Annotated[Policy, typer.Option(help="By which rule experts are placed.")] = Policy.EPLB,
    phase: Annotated[Phase | None, typer.Option(help="Place for one phase alone.")] = None,
    domain: Annotated[str | None, typer.Option(help="Place for one domain alone.")] = None,
    batch: Annotated[int, count_option("Tokens of a batch, for the experts it reads.")] = 64,
    current: Annotated[
        Path | None,
        typer.Option(help="The map in use, of SGLang or vllm-ascend; by default in order."),
    ] = None,
    today: Annotated[
        Path | None, typer.Option(help="A later trace, on which the plan of this one is measured.")
    ] = None,
    expert_bytes: Annotated[
        int | None,
        count_option("Bytes of an expert's weights; by default as the model's settings say."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="New .json file for the map.")] = None,
    form: Annotated[Form, typer.Option("--as", help="Who reads the map.")] = Form.SGLANG,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Place experts on GPUs by one half of the texts, and measure it on the other half.

    Example: routescope place traces/demo.duckdb --gpus 8 --redundant 16 --out map.json
    """
    from analysis import queries
    from analysis.expert_bytes import expert_bytes as bytes_of_expert
    from analysis.placement.sample import read_texts
    from app.studies import placement, placement_files
    from data.exports.new_file import new_file
    from data.outputs import require_new_file
    from data.store import open_trace

    settings = placement.Settings(
        gpus=gpus,
        nodes=nodes,
        redundant=redundant,
        groups=groups,
        policy=policy,
        phase=phase,
        domain=domain,
        batch=batch,
    )
    if out is not None:
        if out.suffix != ".json":
            raise ValueError(f"{out} does not end in .json, as a map does; name it so")
        require_new_file(out)
    later = None
    with leaving(nothing):
        with open_trace(trace) as con:
            print_findings(con)
            info = queries.trace_info(con)
            settings.cluster(info)  # refused before anything is read
            placement.require_domain(info, domain)
            if out is not None:
                placement_files.require_file(info)
            used = (
                None if current is None else placement_files.read_current(current, info, settings)
            )
            texts = read_texts(con, info)
        if today is not None:
            with open_trace(today) as con:
                print_findings(con)
                info_today = queries.trace_info(con)
                placement.require_like(info, info_today, settings)
                later = read_texts(con, info_today)
        made = placement.planned(texts, settings, current=used)
        try:
            drift = placement.drift(texts, made, today=later)
        except ValueError as error:
            drift = None
            print(f"no drift to show: {error}", file=sys.stderr)
        size = expert_bytes or bytes_of_expert(info)
        if out is not None:
            with new_file(out) as file:
                file.write(placement_files.map_file(made, info, form))
    (_print_json if as_json else _print)(made, drift, size)
    if out is not None:
        print(f"{out}: the map of {policy}, as {form} reads it", file=sys.stderr)


def _print_json(made: "Planned", drift: "Compared | None", expert_bytes: int | None) -> None:
    layers = made.by_layer(expert_bytes=expert_bytes)
    tables = {"policies": made.compared.table, "layers": layers}
    tables |= {} if drift is None else {"drift": drift.table}
    rows = {
        name: table.astype(object).where(table.notna(), None).to_dict("records")
        for name, table in tables.items()
    }
    facts = {"policy": made.settings.policy, "held_out": made.judges.made_none, "drift": None}
    pairs = {
        kind: {when: share.tolist() for when, share in of.items()}
        for kind, of in made.traffic.items()
    }
    print(json_text(facts | rows | {"traffic": pairs}))


def _print(made: "Planned", drift: "Compared | None", expert_bytes: int | None) -> None:
    import numpy as np

    from app.studies.placement import BEFORE, TODAY, YESTERDAY
    from app.studies.placement_words import (
        IF_OF_THESE,
        MEASURE_TITLES,
        in_lines,
        titles,
        with_interval,
    )

    table = made.compared.table
    groups = counted(int(table.n_groups.iloc[0]), "group", "groups")
    which = "that did not make the maps" if made.judges.made_none else "that made the maps"
    print(f"measured on {groups} of texts {which}")
    for measure in MEASURE_TITLES:
        for line in in_lines(made, measure):
            print(line)
    if note := table.note.iloc[0]:
        print(note, file=sys.stderr)
    for kind, of in made.traffic.items():
        before, after = (share[~np.eye(len(share), dtype=bool)] for share in of.values())
        if before.size:
            print(
                f"tokens that two {kind}s serve, mean over pairs: {before.mean():.1%} -> "
                f"{after.mean():.1%}"
            )
    if made.in_use:
        print(IF_OF_THESE, file=sys.stderr)
    layers = made.by_layer(expert_bytes=expert_bytes)
    moved = int(layers.moved_experts.sum())
    size = f", {moved * expert_bytes:,} bytes" if expert_bytes else ""
    print(f"moves {moved:,} of {int(layers.places.sum()):,} experts{size}")
    if drift is not None:
        named = {BEFORE: titles(made)[BEFORE], YESTERDAY: "earlier plan", TODAY: "their own plan"}
        each = [
            f"{name} {with_interval(drift.row(plan, 'busiest_gpu'))}"
            for plan, name in named.items()
        ]
        print(f"busiest GPU, later texts: {', '.join(each)}")
        if note := drift.table.note.iloc[0]:
            print(f"later texts: {note}", file=sys.stderr)
