"""A model of ours and what `routescope model export` makes of it: every study answers alike.

Both are given a start token before each text, as ours is trained.
"""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from analysis.redundancy import CLOSED, SIMILARITIES
from app.commands import prune as command
from app.studies import exchange, redundancy
from app.studies.compression import texts
from app.studies.reader import Tracer, load_tracer
from model.ablation import document_losses
from model.config import ModelConfig
from model.config_file import load_config
from model.encoded import encoded_documents
from model.huggingface.model import HuggingFaceModel
from model.huggingface.text import HuggingFaceText
from model.intervene import activated, forced, masked, masked_top, scaled, without_shared
from model.presets import deepseek_v3_mini
from model.readable import ReadText
from tests.model.exchange.exchanged import shrunk, write_small
from tests.models import small_config, small_router
from tests.tokenizers import byte_tokenizer

pytestmark = pytest.mark.slow
CLI = typer.Typer()
CLI.command()(command.prune)
CLI.command()(command.quantize)

SIZES: dict[str, Any] = {"vocab_size": 257, "context_length": 64}
MODELS: dict[str, ModelConfig] = {
    "Qwen2-MoE": replace(small_config(), **SIZES),
    "Mixtral": replace(small_router("gshard", num_shared_experts=0, first_dense_layers=0), **SIZES),
    "GLM-4-MoE": replace(
        shrunk(deepseek_v3_mini()), **SIZES, top_k=7, groups_per_token=None, num_experts=16
    ),
}
Change = Callable[[Any], AbstractContextManager[None]]
CHANGES: dict[str, Change] = {
    "masked": lambda m: masked(m, {0: [1, 2], 1: [0]}),
    "masked_top": lambda m: masked_top(m, 1),
    "forced": lambda m: forced(m, {0: [5], 1: [3]}),
    "fewer": lambda m: activated(m, 1),
    "more": lambda m: activated(m, 8),
    "scaled": lambda m: scaled(m, {1: range(8)}, factor=0.5),
}


def without_start(text: HuggingFaceText, texts: list[str]) -> list[ReadText]:
    """The start token of each text is `unrecorded` here, as it is of ours."""
    return text.of_texts(texts, special=False, parsed=False)


@pytest.fixture(autouse=True)
def start_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HuggingFaceModel, "unrecorded", [0])
    monkeypatch.setattr(HuggingFaceModel, "scored_from", 0)
    monkeypatch.setattr(HuggingFaceText, "read", without_start)


@pytest.fixture(autouse=True)
def heldout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty-four short texts of two domains a file: the one measured on, the one calibrated
    with."""
    for name in ("heldout", "mine"):
        lines = [
            {"text": f"{text} {name} {number**5} " * 2, "domain": domain}
            for number in range(12)
            for text, domain in (("1+1=2", "math"), ("def f", "code"))
        ]
        pd.DataFrame(lines).to_parquet(tmp_path / f"{name}.parquet")
    monkeypatch.setattr(texts, "HELDOUT", tmp_path / "heldout.parquet")
    return tmp_path / "mine.parquet"


@pytest.fixture(params=MODELS)
def folders(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """(ours, exported)"""
    own, exported = tmp_path / "own", tmp_path / "exported"
    write_small(MODELS[request.param], own)
    byte_tokenizer().save(str(own / "tokenizer.json"))
    exchange.to_transformers(own, exported)
    return own, exported


def tracers(folders: tuple[Path, Path]) -> tuple[Tracer, Tracer]:
    return load_tracer(folders[0]), load_tracer(folders[1])


def test_losses_under_every_change(folders: tuple[Path, Path], heldout: Path) -> None:
    losses = []
    for tracer in tracers(folders):
        model = tracer.model
        changes = dict(CHANGES)
        if all(layer.shared_experts is not None for layer in model.moe_layers()):
            changes["without_shared"] = without_shared
        documents = list(encoded_documents(model, redundancy.read_documents(heldout)))
        interventions = {name: (lambda of=of: of(model)) for name, of in changes.items()}  # noqa: B023
        losses.append(document_losses(model, documents, interventions))
    own, exported = losses
    assert own.tokens_N.tolist() == exported.tokens_N.tolist()
    per_token = np.abs(own.nats_VN - exported.nats_VN).sum(1) / own.tokens_N.sum()
    assert per_token.max() < 1e-5
    assert np.abs(own.nats_VN[1:] - own.nats_VN[0]).sum(1).min() > 0.01  # each changes it


def test_similar_experts(folders: tuple[Path, Path], heldout: Path) -> None:
    own, exported = (
        redundancy.measure(one, redundancy.calibration(one.model, heldout))
        for one in tracers(folders)
    )
    assert own.num_tokens == exported.num_tokens
    assert (
        np.abs(own.tokens_LE - exported.tokens_LE).max() <= 2
    )  # choices between which all is even
    assert np.allclose(own.saliency_LE, exported.saliency_LE, rtol=1e-4, atol=1e-6)
    for name in SIMILARITIES:
        assert np.abs(own.similarity(name) - exported.similarity(name)).max() < 1e-5, name
        assert np.abs(own.null(name) - exported.null(name)).max() < 1e-5, name


def measured(name: str, source: Path, out: Path, *given: object) -> dict[str, Any]:
    arguments = [name, source, "--out", out, *given, "--json"]
    result = CliRunner().invoke(CLI, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def bits(found: dict[str, Any]) -> np.ndarray:
    return np.array([[row["before"], row["after"]] for row in found["bits_per_byte"]])


def test_the_same_experts_go_at_the_same_cost(
    folders: tuple[Path, Path], heldout: Path, tmp_path: Path
) -> None:
    given = ("--by", "saliency", "--share", 0.25, "--text", heldout)
    own, exported = (
        measured("prune", folder, tmp_path / f"small{place}", *given)
        for place, folder in enumerate(folders)
    )
    leader_LE = np.array(load_config(tmp_path / "small0").expert_leaders)
    kept = json.loads((tmp_path / "small1" / "experts.json").read_text())["kept"]
    assert [np.flatnonzero(row != CLOSED).tolist() for row in leader_LE] == list(kept.values())
    assert own["experts_by_layer"] == exported["experts_by_layer"]
    apart = np.abs(bits(own) - bits(exported)).max()
    config = load_config(folders[0])
    if config.router == "softmax":  # scores of fewer experts sum to 1: weights rise
        assert 0 < apart < 0.05
    else:
        assert apart < 1e-5
        assert own["changed_choices"] == pytest.approx(exported["changed_choices"], abs=1e-3)


def test_int8_costs_the_same(folders: tuple[Path, Path], tmp_path: Path) -> None:
    own, exported = (
        measured("quantize", folder, tmp_path / f"int8{place}")
        for place, folder in enumerate(folders)
    )
    assert np.abs(bits(own) - bits(exported)).max() < 1e-5
