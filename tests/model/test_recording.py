"""Decisions of one forward, of any block with a gate and experts."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from model.config import dense_twin
from model.readable import GateRule
from model.recording import entropy, margin, recorded_routing
from model.transformer import Transformer
from model.watching import Watcher, watch_contract
from tests.models import small_config


class RoundRobinGate(nn.Module):
    """Token t goes to experts t and t + 1; scores 4, 3, 2, 1 in that order of preference."""

    def scores(self, router_logits_TE: Tensor) -> Tensor:
        return router_logits_TE.softmax(-1)

    def preference(self, scores_TE: Tensor) -> Tensor:
        return scores_TE

    def explains(self, scores_TE: Tensor, expert_ids_TK: Tensor, weights_TK: Tensor) -> None:
        return None

    weigh = None

    def kept(self, scores_TK: Tensor, *, min_k: int, max_k: int) -> Tensor:
        return torch.ones_like(scores_TK, dtype=torch.bool)

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first_T = torch.arange(len(x_TD))
        ids_TK = torch.stack([first_T, first_T + 1], dim=1) % 4
        preference_TE = (first_T[:, None] - torch.arange(4)) % 4
        logits_TE = torch.log(torch.tensor([4.0, 1.0, 2.0, 3.0]))[preference_TE]
        return logits_TE, torch.tensor([[0.4, 0.3]]).repeat(len(x_TD), 1), ids_TK


class Uncertain(RoundRobinGate):
    """Scores like those of sigmoids, which do not sum to 1."""

    def scores(self, router_logits_TE: Tensor) -> Tensor:
        return torch.full_like(router_logits_TE, 0.9)


class NamedArguments(nn.Module):
    """A block of another make that passes what is executed by name."""

    shared_experts = admission = None
    num_experts = 4
    k_range = (2, 2)
    takes_choices = True

    def __init__(self, gate: RoundRobinGate | None = None) -> None:
        super().__init__()
        self.gate = gate or RoundRobinGate()
        self.experts = Doubled()
        self.rule: GateRule | None = self.gate

    def moe_layers(self) -> list["NamedArguments"]:
        return [self]

    def watch(self, watcher: Watcher) -> list[RemovableHandle]:
        return watch_contract(self, watcher)

    def neurons(self) -> np.ndarray:
        return np.zeros((4, 1, 3, 1))

    def forward(self, x_TD: Tensor) -> Tensor:
        _, weights_TK, ids_TK = self.gate(x_TD)
        return self.experts(x_TD, top_k_index=ids_TK, top_k_weights=weights_TK)


class TwoBlocks(nn.Sequential):
    def moe_layers(self) -> list[NamedArguments]:
        return [block for block in self if isinstance(block, NamedArguments)]


class Doubled(nn.Module):
    def forward(self, x_TD: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        return 2 * x_TD


def test_any_block_with_gate_and_experts_is_recorded() -> None:
    model = TwoBlocks(NamedArguments(), NamedArguments())
    with recorded_routing(model) as recording:
        model(torch.ones(3, 1))
        decisions = recording.take()
    assert decisions.expert_ids_TLK.tolist() == [[[t, (t + 1) % 4]] * 2 for t in range(3)]
    assert decisions.expert_ids_TLK.dtype == np.int16
    np.testing.assert_array_equal(decisions.weights_TLK[2, 1], np.array([0.4, 0.3], np.float32))
    entropy = -sum(p * math.log(p) for p in (0.4, 0.3, 0.2, 0.1))
    np.testing.assert_allclose(decisions.entropy_TL, entropy, rtol=1e-6)
    np.testing.assert_allclose(decisions.margin_TL, 0.3 - 0.2, rtol=1e-5)


def test_margin_counts_the_bias_and_is_unknown_when_nothing_was_rejected() -> None:
    scores_TE = torch.tensor([[0.5, 0.3, 0.2]])
    assert margin(scores_TE, torch.tensor([[0, 1]])).item() == pytest.approx(0.1)
    bias_E = torch.tensor([0.0, 0.0, 0.4])
    assert margin(scores_TE + bias_E, torch.tensor([[2, 0]])).item() == pytest.approx(0.2)
    assert margin(scores_TE, torch.tensor([[0, 1, 2]])).isnan().item()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_the_margin_of_what_is_not_finite_is_unknown_and_not_0(broken: float) -> None:
    scores_TE = torch.tensor([[broken, 0.3, 0.2], [0.5, 0.3, 0.2]])
    assert margin(scores_TE, torch.tensor([[0], [0]])).isnan().tolist() == [True, False]
    assert margin(scores_TE, torch.tensor([[1], [1]])).isnan().tolist() == [True, False]


def test_an_entropy_of_scores_that_all_but_vanish_is_within_0_and_log_e() -> None:
    vanishing_TE = torch.tensor([[-100.0, -100.0], [-95.0, -88.0], [-120.0, 0.0]]).exp()
    entropy_T = entropy(vanishing_TE)
    assert (entropy_T >= 0).all()
    assert (entropy_T <= math.log(2)).all()
    assert entropy(torch.tensor([[math.nan, 1.0]])).isnan().all()


def test_sigmoid_scores_count_as_shares_of_their_sum() -> None:
    block = NamedArguments(Uncertain())
    with recorded_routing(block) as recording:
        block(torch.ones(1, 1))
        assert recording.take().entropy_TL.item() == pytest.approx(math.log(4))


def test_choices_are_ranked_by_weight() -> None:
    block = NamedArguments()
    block.gate.register_forward_hook(
        lambda module, arguments, output: (*output[:1], output[1].flip(1), output[2])
    )
    with recorded_routing(block) as recording:
        block(torch.ones(2, 1))
        decisions = recording.take()
    assert decisions.expert_ids_TLK.tolist() == [[[1, 0]], [[2, 1]]]
    np.testing.assert_array_equal(decisions.weights_TLK[0, 0], np.array([0.4, 0.3], np.float32))


def test_recording_leaves_outputs_unchanged_and_no_hook_behind(model: Transformer) -> None:
    ids_BS = torch.tensor([[0, 1, 2, 3]])
    plain = model(ids_BS)

    def fail_while_recording() -> None:
        with recorded_routing(model) as recording:
            assert torch.equal(model(ids_BS), plain)
            assert recording.take().expert_ids_TLK.shape == (4, 2, 2)
            raise KeyError

    with pytest.raises(KeyError):
        fail_while_recording()
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_each_hand_over_needs_its_own_forward(model: Transformer) -> None:
    with recorded_routing(model) as recording:
        model(torch.tensor([[0, 1]]))
        recording.take()
        with pytest.raises(ValueError, match="0 of 2 MoE layers ran"):
            recording.take()


def test_a_model_without_experts_is_refused() -> None:
    dense = Transformer(dense_twin(small_config()))
    with pytest.raises(ValueError, match="no MoE layer"), recorded_routing(dense):
        pass


def test_logits_that_nobody_says_how_to_score_are_refused() -> None:
    block = NamedArguments()
    block.rule = None
    with recorded_routing(block) as recording:
        block(torch.ones(1, 1))
        with pytest.raises(ValueError, match="gate of MoE layer 0 gives logits and does not say"):
            recording.take()
