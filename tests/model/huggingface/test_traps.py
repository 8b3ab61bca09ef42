"""What peers get wrong: each of these was seen to give a wrong trace in silence."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.huggingface.layers import find_layers
from model.huggingface.trial import tried_layers
from model.recording import recorded_routing
from tests.families.tiny import tiny
from tests.model.huggingface.folders import FAMILIES
from tests.model.huggingface.proof import prepared, tokens
from tests.model.huggingface.replay import Layers


def entropies(scores_TE: Tensor) -> np.ndarray:
    share_TE = scores_TE / scores_TE.sum(-1, keepdim=True)
    return -(share_TE * share_TE.log()).sum(-1).numpy()


def test_probabilities_are_not_taken_for_logits() -> None:
    model, layers = prepared(FAMILIES["gemma4"])
    given: list[Tensor] = []
    layers[0].gate.register_forward_hook(lambda module, inputs, output: given.append(output[0]))
    with torch.no_grad(), recorded_routing(Layers(layers)) as recording:
        model(input_ids=tokens(1, 12))
        decisions = recording.take()
    assert layers[0].rule is not None
    assert layers[0].rule.scoring == "probability"
    np.testing.assert_allclose(decisions.entropy_TL[:, 0], entropies(given[0]), atol=1e-5)


def test_a_skipped_token_is_not_one_of_expert_0() -> None:
    model, layers = prepared(FAMILIES["zaya"])
    skip = layers[0].num_experts - 1
    layers[0].gate.balancing_biases[skip] = 10  # type: ignore[operator]
    with torch.no_grad(), recorded_routing(Layers(layers)) as recording:
        model(input_ids=tokens(1, 12))
        decisions = recording.take()
    assert (decisions.expert_ids_TLK[:, 0] == skip).all()
    assert (decisions.weights_TLK[:, 0] == 0).all()


def test_a_bias_and_groups_are_in_the_margin() -> None:
    """The last chosen minus the best rejected, as DeepSeek-V3 compares them (arXiv 2412.19437)."""
    model, layers = prepared(FAMILIES["deepseek_v3"])
    gate: Any = layers[0].gate
    given: list[Tensor] = []
    gate.register_forward_hook(lambda module, inputs, output: given.append(output[0]))
    with torch.no_grad(), recorded_routing(Layers(layers)) as recording:
        model(input_ids=tokens(1, 12))
        decisions = recording.take()
    config = model.config
    for row, logits_E in enumerate(given[0]):
        by_E = logits_E.sigmoid() + gate.e_score_correction_bias
        by_GE = by_E.view(config.n_group, -1)
        best = by_GE.topk(2, dim=-1).values.sum(-1).topk(config.topk_group).indices
        allowed = torch.full_like(by_GE, -torch.inf)
        allowed[best] = by_GE[best]
        ranked = allowed.flatten().sort(descending=True)
        chosen = set(ranked.indices[: config.num_experts_per_tok].tolist())
        assert set(decisions.expert_ids_TLK[row, 0].tolist()) == chosen
        last, rejected = ranked.values[config.num_experts_per_tok - 1 :][:2]
        margin = decisions.margin_TL[row, 0]
        assert margin == pytest.approx(float(last - rejected), abs=1e-5)


def test_hooks_after_compile_are_an_error_and_before_it_are_heard() -> None:
    model, layers = prepared(FAMILIES["mixtral"])
    ids_BS = tokens(1, 8)
    with torch.no_grad(), recorded_routing(Layers(layers)) as recording:
        compiled = torch.compile(model, backend="eager")
        compiled(input_ids=ids_BS)
        heard = recording.take()
    with torch.no_grad(), recorded_routing(Layers(layers)) as recording:
        model(input_ids=ids_BS)
        assert (recording.take().expert_ids_TLK == heard.expert_ids_TLK).all()
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        compiled(input_ids=ids_BS)  # without hooks
    with torch.no_grad(), recorded_routing(Layers(layers)) as recording:
        compiled(input_ids=ids_BS)
        with pytest.raises(ValueError, match=r"0 of 3 MoE layers ran .* torch\.compile"):
            recording.take()
    torch._dynamo.reset()


def test_gradient_checkpointing_records_a_forward_once() -> None:
    model, layers = prepared(FAMILIES["mixtral"])
    with torch.no_grad(), recorded_routing(Layers(layers)) as recording:
        model(input_ids=tokens(1, 8))
        plain = recording.take()
    model.activation_checkpointing_enable()
    model.train()
    with recorded_routing(Layers(layers)) as recording:
        loss = model(input_ids=tokens(1, 8), use_cache=False).logits.float().logsumexp(-1).mean()
        decisions = recording.take()
        loss.backward()  # runs every layer once more
        model(input_ids=tokens(1, 8), use_cache=False)
        again = recording.take()
    for one in (decisions, again):
        assert (one.expert_ids_TLK == plain.expert_ids_TLK).all()
        assert len(one.expert_ids_TLK) == 8


def test_layers_with_different_numbers_of_experts_keep_them() -> None:
    model = tiny(FAMILIES["mixtral"])
    other = tiny(FAMILIES["mixtral"], seed=1)
    block = other.model.layers[1].mlp
    keep = 5
    block.gate.weight.data = block.gate.weight.data[:keep]
    for name in ("gate_up_proj", "down_proj"):
        weights = getattr(block.experts, name)
        weights.data = weights.data[:keep]
    block.experts.num_experts = block.gate.num_experts = keep
    model.model.layers[1].mlp = block
    layers = tried_layers(model, lambda: model(input_ids=tokens(2, 16)))
    assert [layer.num_experts for layer in layers] == [8, 5, 8]
    with torch.no_grad(), recorded_routing(Layers(layers)) as recording:
        model(input_ids=tokens(2, 16))
        decisions = recording.take()
    assert decisions.expert_ids_TLK[:, 1].max() < keep


class Strange(nn.Module):
    """A router beside experts that are called in a way that nobody knows."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(4, 3)
        self.experts = nn.Linear(4, 4)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.experts(x_TD) * self.router(x_TD).softmax(-1).amax(-1, keepdim=True)


def strange_models() -> Iterator[Any]:
    yield pytest.param(Strange(), r"Strange routes in a way .* router.* Linear", id="unknown")
    yield pytest.param(nn.Linear(4, 4), r"Linear is dense", id="dense")


@pytest.mark.parametrize(("model", "message"), strange_models())
def test_what_is_not_known_is_refused_and_named(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tried_layers(model, lambda: model(torch.ones(5, 4)))


def test_image_routers_are_no_layers_of_a_text() -> None:
    model, layers = prepared(FAMILIES["ernie4_5_vl_moe"])
    found = [layer.name for layer in find_layers(model)]
    assert any("vision" in name for name in found)
    assert not any("vision" in layer.name for layer in layers)
