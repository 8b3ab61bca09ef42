"""How tests run `routescope capture`."""

from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from app.commands import capture as command

CLI = typer.Typer()
CLI.command()(command.capture)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(CLI, [str(argument) for argument in arguments])


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(result: Result) -> str:
    """The message that `routescope` prints in one line, with exit code 2."""
    assert isinstance(result.exception, ValueError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)
