"""Every Mixture-of-Experts family of transformers is found, built small, and routes.

T = tokens, E = experts, K = experts per token.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.families.found import FOLDER, Family, families
from tests.families.routers import routers
from tests.families.shrink import TOP_K
from tests.families.tiny import forward_inputs, tiny

SAMPLE = {"deepseek_v3", "gemma4", "gpt_oss", "llama4", "qwen3_moe", "switch_transformers"}
WITHOUT_ROUTER = {"vitpose_backbone"}  # the data set that an image is from names its expert
WITHOUT_TEXT = "vision_moe"  # in the paths of routers that no text reaches
TOKEN_IDS_BS = torch.randint(3, 259, (2, 9), generator=torch.Generator().manual_seed(0))

EVERY_FAMILY = [
    pytest.param(family, id=family.name, marks=[] if family.name in SAMPLE else [pytest.mark.slow])
    for family in families()
]


def test_at_least_seventy_families_are_found_each_once() -> None:
    names = [family.name for family in families()]
    assert len(set(names)) == len(names) >= 70
    assert {*SAMPLE, "mixtral", "nllb_moe", "kimi_k25"} <= set(names)


def test_no_model_with_experts_is_missed() -> None:
    with_experts = {
        file.parent.name
        for file in FOLDER.glob("*/modeling_*.py")
        if "self.experts = " in file.read_text(encoding="utf-8")
    }
    assert with_experts - {family.name for family in families()} == WITHOUT_ROUTER


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_a_tiny_model_sends_tokens_to_several_experts(family: Family) -> None:
    model = tiny(family)
    assert sum(parameter.numel() for parameter in model.parameters()) < 2_000_000
    said = {path: r for path, r in routers(model).items() if WITHOUT_TEXT not in path}
    did = {path: e for path, e in model.named_modules() if path.endswith(".experts")}
    logits, outputs = _forward(model, family, {**said, **did})
    assert said
    assert logits.isfinite().all()
    assert [path for path in said if len(_chosen(outputs[path])) < 2] == []
    assert [path for path in did if path in outputs and not outputs[path].any()] == []


def test_a_layer_is_dense_where_the_family_has_such_layers() -> None:
    paths = ["model.layers.1.mlp.gate", "model.layers.2.mlp.gate"]
    assert list(routers(tiny(_family("deepseek_v3")))) == paths


def test_the_same_seed_gives_the_same_model() -> None:
    family = _family("qwen3_moe")
    first, again, other = (tiny(family, seed=seed).lm_head.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_bias_changes_some_choices_and_not_all() -> None:
    family = _family("minimax_m2")
    model = tiny(family)
    _, outputs = _forward(model, family, routers(model))
    for logits_TE, _, ids_TK in outputs.values():
        same_T = (logits_TE.topk(TOP_K).indices.sort().values == ids_TK.sort().values).all(-1)
        assert 0 < same_T.sum() < len(same_T)


def _family(name: str) -> Family:
    return next(family for family in families() if family.name == name)


def _forward(
    model: Any, family: Family, modules: dict[str, nn.Module]
) -> tuple[Tensor, dict[str, Any]]:
    """Logits of the model, and by path what those modules return that are called."""
    outputs: dict[str, Any] = {}
    for path, module in modules.items():
        module.register_forward_hook(
            lambda _, __, output, path=path: outputs.update({path: output})
        )
    inputs = forward_inputs(model, family, TOKEN_IDS_BS, torch.ones_like(TOKEN_IDS_BS))
    with torch.no_grad():
        return model(**inputs).logits, outputs


def _chosen(output: Any) -> set[int]:
    """Experts by their ids; where a router gives none, those with the largest logit of a token."""
    tensors = [t for t in (output if isinstance(output, tuple) else [output]) if torch.is_tensor(t)]
    for tensor in tensors:
        if not tensor.is_floating_point() and tensor.ndim == 2 and tensor.shape[1] <= TOP_K:
            return set(tensor.flatten().tolist())
    logits = [tensor for tensor in tensors if tensor.is_floating_point()][-1]
    return set(logits.argmax(-1).flatten().tolist())
