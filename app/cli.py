"""`routescope`: wiring only. One file of app/commands a group."""

import sys
from typing import Annotated

import typer

from app.commands import (
    ablate,
    capture,
    corpus,
    demo,
    evaluate,
    information,
    merge,
    model,
    project,
    prune,
    train,
)
from app.commands import app as dashboard
from app.commands.signals import ended_by_signals
from routescope import __version__

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(corpus.app, name="corpus")
app.add_typer(model.app, name="model")
app.command("app")(dashboard.serve)
app.command()(train.train)
app.command()(capture.capture)
app.command()(demo.demo)
app.command()(merge.merge)
app.command()(project.project)
app.command()(information.information)
app.command()(ablate.ablate)
app.command()(evaluate.evaluate)
app.command()(prune.prune)
app.command()(prune.quantize)


def print_version(wanted: bool) -> None:
    if wanted:
        print(f"routescope {__version__}")
        raise typer.Exit


@app.callback()
def routescope(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """See what every expert of a Mixture-of-Experts language model really does."""


@ended_by_signals()
def main() -> None:
    """An error that the user can cause is printed as one line, with exit code 2."""
    try:
        app()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
