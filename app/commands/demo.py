"""`routescope demo`: the trace that the app opens with."""

import time
from pathlib import Path
from typing import Annotated

import typer

from app import folders
from app.commands.capture import Json
from app.commands.capture_report import report, summary_figures
from app.commands.progress import documents_bar
from app.commands.signals import leaving, nothing
from app.studies.demo import make_demo
from app.studies.reader import CHECKPOINT, load_tracer

DEMO = folders.demo()


def demo(
    out: Annotated[Path, typer.Option(help="The trace to write.")] = DEMO,
    model: Annotated[Path, typer.Option(help="Folder of a model.")] = CHECKPOINT,
    as_json: Json = False,
) -> None:
    """Make the demo trace: shipped held-out texts of all six domains through the shipped model.

    Example: routescope demo
    """
    tracer = load_tracer(model)
    started = time.perf_counter()
    with leaving(nothing), documents_bar() as count:
        captured = make_demo(tracer, out, on_progress=count)
    figures = summary_figures(captured, seconds=time.perf_counter() - started)
    report(figures | {"path": str(out)}, as_json=as_json)
