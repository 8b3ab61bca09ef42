"""`routescope`: wiring only. One file of app/commands a group."""

import os
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from app.commands import (
    ablate,
    cache,
    capture,
    compare,
    corpus,
    demo,
    evaluate,
    experts,
    export,
    importing,
    index,
    information,
    merge,
    model,
    place,
    project,
    prune,
    summarize,
    train,
)
from app.commands import app as dashboard
from app.commands.signals import ended_by_signals
from app.error_line import is_foreseen, line_of
from routescope import __version__


class Commands(TyperGroup):
    """Hands on to `main` what typer would print in its own way."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            raise ValueError(error.format_message()) from error
        except EOFError as error:
            raise ValueError(f"a file ends too early: {error}") from error
        except RuntimeError as error:
            if str(error) == "Query interrupted":  # so DuckDB tells of Ctrl-C
                raise KeyboardInterrupt from error
            raise


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(corpus.app, name="corpus")
app.add_typer(model.app, name="model")
app.command("app")(dashboard.serve)
app.command()(train.train)
app.command()(capture.capture)
app.command("import")(importing.import_dump)
app.command()(demo.demo)
app.command()(merge.merge)
app.command()(summarize.summarize)
app.command()(compare.compare)
app.command()(project.project)
app.command()(information.information)
app.command()(index.index)
app.command()(ablate.ablate)
app.command()(cache.cache)
app.command()(evaluate.evaluate)
app.command()(export.export)
app.command()(place.place)
app.command()(experts.experts)
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
    """What a user can cause is printed as one line, with exit code 2; a bug has its traceback."""
    try:
        try:
            app()
        finally:
            flush_output()
    except SystemExit as ending:
        if isinstance(getattr(ending.__context__, "__cause__", None), KeyboardInterrupt):
            print("interrupted", file=sys.stderr)  # where the command has not said so itself
        raise
    except BrokenPipeError:  # whoever read has read enough
        sys.exit(1)
    except Exception as error:
        if not is_foreseen(error):
            raise
        print(f"error: {line_of(error)}", file=sys.stderr)
        sys.exit(2)


def flush_output() -> None:
    """Now, while an error can still be told; what could not be written is dropped."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
