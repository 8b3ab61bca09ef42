"""`routescope model` on folders of transformers."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from app.cli import app
from app.commands import model as command
from model.huggingface.loading import load_huggingface


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["model", *map(str, arguments)])
    assert result.exit_code == 0, result.exception
    return result.output


def test_a_model_of_transformers_is_described_without_its_weights(
    folder_of: Callable[[str], Path],
) -> None:
    told = json.loads(run("describe", folder_of("mixtral"), "--json"))
    assert (told["family"], told["layers"], told["num_experts"], told["top_k"]) == (
        *("Mixtral", 3, 8, 2),
    )
    rows = dict(
        line.rsplit(maxsplit=1) for line in run("describe", folder_of("mixtral")).splitlines()
    )
    assert rows["scoring"] == "softmax"
    given = CliRunner().invoke(
        app, ["model", "describe", str(folder_of("mixtral")), "--segments", "2"]
    )
    assert "are for RouteScope's own" in str(given.exception)


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss"])
def test_a_continuation_follows_the_text_as_the_model_reads_it_and_ends_at_its_end(
    name: str, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_huggingface(folder_of(name), dtype="float32")
    monkeypatch.setattr(command, "load_tracer", lambda folder: SimpleNamespace(model=model))
    [read] = model.read(["abc"])
    told = model.decode(read.token_ids)
    assert run("generate", "abc", "--tokens", 6, "--temperature", 0).startswith(told)
    with torch.inference_mode():
        likeliest = int(model.logits(torch.tensor([read.token_ids]))[0, -1].argmax())
    monkeypatch.setattr(type(model), "end_token_ids", frozenset([likeliest]))
    assert run("generate", "abc", "--tokens", 6, "--temperature", 0) == f"{told}\n"
