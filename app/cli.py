"""`routescope`: wiring only. One file of app/commands a group."""

import sys

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

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(corpus.app, name="corpus")
app.add_typer(model.app, name="model")
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


def main() -> None:
    """Whatever a user can cause is one line and exit code 2."""
    try:
        app()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
