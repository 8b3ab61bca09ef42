"""`routescope train` and `routescope model`, from the command line's side."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import app
from app.commands.train import batches, heldout_sample
from data.tokens import TokenStore

runner = CliRunner()


def test_describe_prints_the_sizes_of_16b() -> None:
    result = runner.invoke(app, ["model", "describe", "16b", "--json"])
    assert json.loads(result.stdout)["parameters"] == 16_375_728_128


def test_an_unknown_preset_is_named() -> None:
    result = runner.invoke(app, ["model", "describe", "17b"])
    assert isinstance(result.exception, ValueError)
    assert "neither a preset (tiny, 2b, 16b, 145b) nor a folder" in str(result.exception)


def test_an_unfinished_training_is_not_shipped(tmp_path: Path) -> None:
    result = runner.invoke(app, ["model", "ship", str(tmp_path), str(tmp_path)])
    assert "not a finished training" in str(result.exception)
