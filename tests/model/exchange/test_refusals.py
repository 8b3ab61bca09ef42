"""What cannot be the same model on the other side is named, in one line, and nothing is written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.config import ModelConfig
from model.exchange.configs import ENTRY, ONLY_OURS, config_text, our_config, require_same
from model.exchange.families import Family, family_of, fields
from model.exchange.folders import write_ours, write_theirs
from model.presets import PRESETS, deepseek_v3_mini
from tests.model.exchange.exchanged import shrunk, write_small
from tests.models import small_config, small_dsr, small_router

REFUSED = {
    "tiny-dsr": "varies from token to token",
    "mini-deepseek-v3": "groups ranked by their best 3 experts instead of 2",
    **{f"{size}-hash": "the token alone" for size in ("mini", "2b")},
    **{f"{size}-hash-x1": "the token alone" for size in ("mini", "2b")},
    **{f"{size}-switch-capacity": "limited capacity" for size in ("mini", "2b")},
    **{f"{size}-gshard-capacity": "limited capacity" for size in ("mini", "2b")},
}
LLAMA = {"deepseek-7b", "deepseek-67b", "llama2-7b"}  # and all whose names say dense
MIXTRAL = {f"{size}-gshard{wider}" for size in ("mini", "2b") for wider in ("", "-x1.2", "-x1.5")}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_class_or_a_feature_that_none_has(name: str) -> None:
    config = PRESETS[name]()
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]):
            family_of(config)
        return
    dense = "dense" in name or name in LLAMA
    wanted = "llama" if dense else "mixtral" if name in MIXTRAL else "qwen2_moe"
    assert family_of(config).model_type == wanted


@pytest.mark.parametrize(
    ("config", "feature"),
    [
        (small_dsr(), "varies from token to token"),
        (small_router("hash"), "the hash router"),
        (small_router(capacity_factor=1.25), r"limited capacity \(capacity_factor 1\.25\)"),
        (small_router(balancing="bias"), r"chooses by a bias \(the softmax router\)"),
        (small_router("gshard", balancing="bias"), r"chooses by a bias \(the gshard router\)"),
        (small_router(expert_groups=4, groups_per_token=2), "softmax gate that chooses among"),
        (small_router("sigmoid", expert_groups=4, groups_per_token=2), "by their best 1 experts"),
        (small_router("sigmoid", expert_groups=8, groups_per_token=2), "a group of one expert"),
        (small_router(expert_leaders=((0, 1, 2, 3, 4, 5, 6, -1),) * 2), "closed experts"),
        (replace(shrunk(PRESETS["2b-dense"]()), num_heads=3), r"\(32\) that 3 heads do not divide"),
        (replace(shrunk(deepseek_v3_mini()), top_k=6), "by their best 3 experts"),
    ],
)
def test_a_feature_without_a_counterpart_is_named(
    config: ModelConfig, feature: str, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    write_small(config, tmp_path / "model")
    with pytest.raises(ValueError, match=feature) as refused:
        write_theirs(tmp_path / "model", tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A model of ours with shared experts, as Qwen2-MoE."""
    write_small(small_config(), tmp_path / "model")
    (tmp_path / "theirs").mkdir()
    write_theirs(tmp_path / "model", tmp_path / "theirs")
    return tmp_path / "theirs"


def refused(theirs: Path, message: str) -> None:
    out = theirs.with_name("back")
    out.mkdir()
    with pytest.raises(ValueError, match=message) as error:
        write_ours(theirs, out)
    assert "\n" not in str(error.value)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "olmoe"}, "is of the type olmoe; llama, mixtral, qwen2_moe, glm4_moe can"),
        ({"architectures": ["Qwen2MoeModel"]}, "architectures is"),
        ({"num_key_value_heads": 1}, "num_key_value_heads is 1, where ours has 2"),
        ({"qkv_bias": True}, "qkv_bias is True, where ours has False"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', where ours has 'silu'"),
        ({"bos_token_id": 1}, "bos_token_id is 1, where ours has 0"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2}}, "rope_par"),
        ({"rope_parameters": None}, "rope_base"),
        ({"mlp_only_layers": [1]}, r"mlp_only_layers is \[1\], where ours has \[0\]"),
        ({"shared_expert_intermediate_size": 12}, "is 12, where ours has 8"),
        ({"shared_expert_intermediate_size": "8"}, r"\('8'\) must be a whole number"),
        ({"norm_topk_prob": True, "num_experts_per_tok": 3}, "must be 2 with the gshard router"),
        ({"num_experts_per_tok": 9}, "between 1 and num_experts"),
        ({"vocab_size": None}, r"vocab_size \(None\) must be an integer"),
        ({"num_hidden_layers": 10**9}, "num_layers"),
        ({"num_experts": 2**15}, "cannot be 65,536 experts"),
        ({"quantization_config": {"quant_method": "fp8"}}, "its weights are quantized"),
        ({"routescope": {"router": "hash", "balancing": "loss"}}, "the hash router"),
        ({"routescope": {"router": "sigmoid"}}, "qwen2_moe has no gate like the sigmoid router's"),
        ({"routescope": {"balancing": "bias"}}, "chooses by a bias"),
        ({"routescope": {"colour": 1}}, "'routescope' is not one that RouteScope writes"),
        ({"routescope": [1]}, "'routescope' is not one that RouteScope writes"),
        ({"hidden_size": 32}, "has the shape"),
        ({"tie_word_embeddings": False}, r"lm_head\.weight is missing"),
    ],
)
def test_a_config_that_ours_cannot_say_is_refused(
    theirs: Path, changes: dict[str, object], message: str
) -> None:
    path = theirs / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    refused(theirs, message)


BAD: list[object] = [None, "x", -1, 0, 1.5, 10**30, float("nan"), [], {}, [None], True]
GATES = [small_config(), small_router("sigmoid")]


@pytest.mark.parametrize("config", GATES, ids=lambda config: config.router)
def test_no_value_of_their_config_raises_anything_else(config: ModelConfig) -> None:
    family = family_of(config)
    written = json.loads(config_text(config, family))
    assert our_config(written, family) == config
    for name in fields(config, family):
        changes: list[dict[str, object]] = [{name: value} for value in BAD]
        assert sum(is_refused(written | change, family) for change in changes) >= 8, name
    for name in ONLY_OURS:
        for value in BAD:
            is_refused(written | {ENTRY: written[ENTRY] | {name: value}}, family)


def is_refused(values: dict[str, object], family: Family) -> bool:
    try:
        require_same(values, our_config(values, family), family)
    except ValueError:
        return True
    return False


def without_an_expert(tensors: dict[str, Tensor]) -> None:
    del tensors["model.layers.2.mlp.experts.7.up_proj.weight"]


def with_another_tensor(tensors: dict[str, Tensor]) -> None:
    tensors["model.layers.0.self_attn.q_norm.weight"] = torch.ones(8)


def with_a_gate_on_shared_experts(tensors: dict[str, Tensor]) -> None:
    tensors["model.layers.1.mlp.shared_expert_gate.weight"][0, 3] = 1e-8


def with_whole_numbers(tensors: dict[str, Tensor]) -> None:
    tensors["model.norm.weight"] = torch.ones(16, dtype=torch.int64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_an_expert, r"experts\.7\.up_proj\.weight is missing"),
        (with_another_tensor, r"q_norm\.weight belongs to none of its layers"),
        (with_a_gate_on_shared_experts, r"layers\.1\.mlp\.shared_expert_gate\.weight is not 0"),
        (with_whole_numbers, r"model\.norm\.weight is of I64, not of BF16, F16, F32"),
    ],
)
def test_weights_that_ours_cannot_hold_are_refused(
    theirs: Path, change: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    [path] = theirs.glob("*.safetensors")
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    refused(theirs, message)


def test_a_bias_that_the_entry_denies_is_refused(tmp_path: Path) -> None:
    write_small(small_router("sigmoid", balancing="bias"), tmp_path / "model")
    (tmp_path / "theirs").mkdir()
    write_theirs(tmp_path / "model", tmp_path / "theirs")
    path = tmp_path / "theirs" / "config.json"
    config = json.loads(path.read_text())
    config["routescope"]["balancing"] = "loss"
    path.write_text(json.dumps(config))
    refused(tmp_path / "theirs", "e_score_correction_bias is not 0 everywhere")


def test_missing_files_are_named(theirs: Path, tmp_path: Path) -> None:
    [weights] = theirs.glob("*.safetensors")
    weights.unlink()
    refused(theirs, "lacks 1 of 1 weight shards")
    (tmp_path / "nowhere").mkdir()
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        write_ours(tmp_path / "nowhere", tmp_path)
