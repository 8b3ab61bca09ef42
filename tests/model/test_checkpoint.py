"""A model survives its way to disk, and a damaged one is named."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from model import checkpoint
from model.checkpoint import load_model, save_model, split_shards
from model.config_file import load_config
from model.fingerprint import model_sha256
from model.presets import PRESETS
from model.transformer import Transformer
from tests.models import small_config


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = Transformer(small_config())
    model.initialize(seed=0)
    save_model(model, tmp_path)
    return tmp_path


def test_what_is_loaded_is_what_was_saved_in_bfloat16(saved: Path) -> None:
    model = Transformer(small_config())
    model.initialize(seed=0)
    for name, loaded in load_model(saved).state_dict().items():
        assert torch.equal(loaded, model.state_dict()[name].bfloat16().float()), name


def test_shards_keep_order_and_stay_under_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 2**16 + 100)
    tensors = {name: torch.zeros(15) for name in "abc"}  # 60 bytes each
    assert [list(shard) for shard in split_shards(tensors)] == [["a"], ["b"], ["c"]]


def test_the_hash_covers_weights_and_config(saved: Path) -> None:
    before = model_sha256(saved)
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"rope_base": 20_000.0}))
    assert model_sha256(saved) != before


def test_weights_of_another_config_are_refused(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"num_experts": 4}))
    with pytest.raises(ValueError, match="do not fit its config"):
        load_model(saved)


@pytest.mark.parametrize("name", PRESETS)
def test_the_config_of_every_preset_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    config = PRESETS[name]()
    (tmp_path / "config.json").write_text(json.dumps(asdict(config)))
    assert load_config(tmp_path) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "not a JSON object"),
        ('{"colour": 1}', "unknown fields"),
        ('{"vocab_size": 1}', "not a RouteScope model config"),
    ],
)
def test_a_foreign_config_is_named(saved: Path, content: str, message: str) -> None:
    (saved / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_model(saved)


def test_missing_and_damaged_files_are_named(saved: Path, tmp_path: Path) -> None:
    shard = next(saved.glob("model-*"))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged"):
        load_model(saved)
    shard.unlink()
    with pytest.raises(ValueError, match="no weights"):
        load_model(saved)
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_a_bias_that_chooses_and_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    model = Transformer(replace(small_config(), balancing="bias"))
    model.initialize(seed=0)
    gate = next(module for name, module in model.named_modules() if name.endswith("gate"))
    gate.bias_E[1] = value
    save_model(model, tmp_path)
    with pytest.raises(ValueError, match="bias_E, which decides what experts are chosen"):
        load_model(tmp_path)
