"""A model of ours is the same model in transformers, and the same bytes when it comes back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from model.checkpoint import load_model, save_model
from model.compress import with_int8_experts
from model.config import ModelConfig
from model.config_file import load_config
from model.exchange.counterparts import without_counterpart
from model.exchange.folders import write_ours, write_theirs
from model.presets import PRESETS, deepseek_v3_mini
from tests.model.exchange.exchanged import (
    CHECKPOINT,
    Difference,
    difference,
    file_bytes,
    heldout_tokens,
    shrunk,
    tokens,
    write_small,
)
from tests.models import small_config, small_router

LOGITS, WEIGHTS = 1e-5, 1e-6


def v3_gate(**changes: object) -> ModelConfig:
    """DeepSeek-V3's gate with groups ranked by their best two, as in the paper."""
    config = replace(shrunk(deepseek_v3_mini()), top_k=4)
    return replace(config, **changes)  # type: ignore[arg-type]


SMALL = {
    **{name: shrunk(make()) for name, make in PRESETS.items() if not without_counterpart(make())},
    "v3": v3_gate(),
    "v3, no groups": v3_gate(groups_per_token=None, top_k=7),
    "v3, all groups": v3_gate(groups_per_token=4, top_k=7),
    "v3, no bias": v3_gate(balancing="loss"),
    "v3, no shared": v3_gate(num_shared_experts=0),
    "v3, dense first": v3_gate(first_dense_layers=1, dense_ffn_dim=24, num_layers=3),
    "gshard, shared": small_router("gshard"),
    "gshard, dense first": small_router("gshard", num_shared_experts=0),
    "untied": replace(small_config(), tied_embeddings=False),
}
EACH = {config: name for name, config in reversed(SMALL.items())}  # many presets shrink to one
SAMPLE = {name for name in EACH.values() if not name.startswith("2b-")} | {"2b-dense", "2b-gshard"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "ours"
    write_small(small_config(), path)
    return path


def assert_same(found: Difference, ids_BS: Tensor) -> None:
    """Every choice, in weights that are no tie."""
    assert (found.ties, found.unexplained, found.tokens) == (0, 0, ids_BS.numel()), found
    assert found.logits <= LOGITS, found
    assert found.weights <= WEIGHTS, found


def exported(folder: Path) -> Path:
    out = folder.with_name(f"{folder.name}-theirs")
    out.mkdir()
    write_theirs(folder, out)
    return out


def imported(folder: Path) -> Path:
    out = folder.with_name(f"{folder.name}-ours")
    out.mkdir()
    write_ours(folder, out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(config, id=name, marks=[] if name in SAMPLE else [pytest.mark.exhaustive])
        for config, name in EACH.items()
    ],
)
def test_every_preset_that_has_a_counterpart_is_the_same_both_ways(
    config: ModelConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    write_small(config, folder)
    theirs = exported(folder)
    found = difference(folder, theirs, tokens(config))
    assert_same(found, tokens(config))
    again = imported(theirs)
    assert file_bytes(again) == file_bytes(folder)
    assert load_config(again) == load_config(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["2b-dense", "2b-gshard", "tiny", "mini-switch", "v3"])
def test_what_transformers_saves_again_comes_back_too(name: str, tmp_path: Path) -> None:
    config = SMALL[name]
    write_small(config, tmp_path / "model")
    theirs = exported(tmp_path / "model")
    AutoModelForCausalLM.from_pretrained(theirs).save_pretrained(tmp_path / "saved")
    back = imported(tmp_path / "saved")
    assert load_config(back) == config
    first, second = load_model(tmp_path / "model"), load_model(back)
    assert first.state_dict().keys() == second.state_dict().keys()
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key]), key


@pytest.mark.slow
def test_a_changed_weight_comes_back_changed(folder: Path) -> None:
    theirs = exported(folder)
    model = AutoModelForCausalLM.from_pretrained(theirs)
    shared = model.model.layers[1].mlp.shared_expert.down_proj.weight
    shared.data[0, 0] = 3.0
    model.save_pretrained(folder.with_name("tuned"))
    back = load_model(imported(folder.with_name("tuned"))).moe_layers()[0].shared_experts
    assert back is not None
    assert back.down.weight[0, 0] == 1.5  # times a half there


@pytest.mark.slow
def test_pruned_experts_get_a_copy_of_their_leaders_weights(tmp_path: Path) -> None:
    leaders = (0, 0, 2, 2, 4, 5, 6, 0), (0, 1, 1, 3, 4, 5, 6, 7)
    write_small(replace(small_config(), expert_leaders=leaders), tmp_path / "model")
    theirs = exported(tmp_path / "model")
    ids_BS = tokens(small_config())
    found = difference(tmp_path / "model", theirs, ids_BS)
    assert_same(found, ids_BS)
    back = load_model(imported(theirs))
    assert back.config.expert_leaders is None
    assert (back(ids_BS) - load_model(tmp_path / "model")(ids_BS)).abs().max() <= LOGITS


@pytest.mark.slow
def test_int8_experts_become_what_they_stand_for(folder: Path, tmp_path: Path) -> None:
    save_model(with_int8_experts(load_model(folder)), tmp_path / "int8")
    theirs = exported(tmp_path / "int8")
    ids_BS = tokens(small_config())
    found = difference(tmp_path / "int8", theirs, ids_BS)
    assert_same(found, ids_BS)
    back = load_model(imported(theirs))
    assert back.config.expert_dtype == "bfloat16"
    assert torch.equal(back(ids_BS), load_model(tmp_path / "int8")(ids_BS))


@pytest.mark.slow
def test_generation_ends_with_the_token_that_starts_a_text(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported(folder))
    settings = model.generation_config
    assert (settings.bos_token_id, settings.eos_token_id, settings.pad_token_id) == (0, 0, 0)
    assert model.config.max_position_embeddings == small_config().context_length
    assert model.dtype == torch.float32  # as in RouteScope, though the file is bfloat16


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped checkpoint, exported."""
    out = tmp_path_factory.mktemp("shipped") / "theirs"
    out.mkdir()
    write_theirs(CHECKPOINT, out)
    return out


@pytest.mark.slow
def test_the_shipped_model_is_the_same_on_held_out_text(shipped: Path) -> None:
    """The first four texts that fill the context; a choice that differs has to be a tie."""
    ids_BS = heldout_tokens(sequences=4)
    assert ids_BS.shape == (4, 512)
    found = difference(CHECKPOINT, shipped, ids_BS)
    assert found.unexplained == 0, found
    assert found.ties <= 2, found
    assert found.tokens >= 1_500, found
    assert found.logits <= 1e-4, found
    assert found.weights <= WEIGHTS, found


@pytest.mark.slow
def test_the_shipped_weights_come_back_byte_by_byte(shipped: Path) -> None:
    back = imported(shipped)
    assert file_bytes(back) == {
        name: content
        for name, content in file_bytes(CHECKPOINT).items()
        if name.startswith("model-")
    }
    assert load_config(back) == load_config(CHECKPOINT)
