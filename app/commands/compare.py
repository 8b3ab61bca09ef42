"""`routescope compare`: what differs between two traces, or two parts of one."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from app.commands.findings import print_findings
from app.commands.signals import leaving, nothing
from data.strict_json import json_text


def compare(
    first: Annotated[Path, typer.Argument(help="A trace: a .duckdb file, or a folder of shards.")],
    others: Annotated[
        list[Path] | None, typer.Argument(help="One to three more; each is compared with it.")
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="Two to four parts of one trace instead: phase:prefill, phase:decode, "
            "domain:NAME, half:first, half:second."
        ),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of a trace's model, given once for each trace, in their order: experts "
            "are matched by weights, too."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder: every table as CSV, with a manifest.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare loads, preferences for domains, figures of layers, loss and gate; of the same texts
    also token by token, where routing flips and which experts correspond.

    Example: routescope compare traces/before.duckdb traces/after.duckdb --out changes
    Example: routescope compare a.duckdb b.duckdb --model models/a --model models/b
    Example: routescope compare traces/demo.duckdb --part domain:math --part domain:code
    """
    from app.parts import open_part
    from app.studies import comparing
    from data.outputs import new_folder, require_new_folder

    subjects = comparing.subjects(first, others or [], part or [])
    if out is not None:
        require_new_folder(out)
    with ExitStack() as opened:
        opened.enter_context(leaving(nothing))
        sides = []
        for (path, of), name in zip(subjects, comparing.names(subjects), strict=True):
            con = opened.enter_context(open_part(path, of))
            print_findings(con)
            sides.append(comparing.side_of(con, path, name))
        found = comparing.all_compared(sides, comparing.models_of(sides, model or []))
    if out is not None:
        with new_folder(out) as folder:
            comparing.write(folder, found)
    if as_json:
        print(json_text({"comparisons": [one.as_json() for one in found]}))
        return
    for one in found:
        print("\n".join(one.lines()))
    if out is None:
        print("--out FOLDER writes every table as CSV", file=sys.stderr)
