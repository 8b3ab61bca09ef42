"""Routing changes inside the block as it should, and after the block nothing is left."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from model import intervene
from model.config import dense_twin
from model.decisions import Decisions
from model.intervene import activated, forced, masked, masked_top, scaled, without_shared
from model.readable import GateRule
from model.recording import recorded_routing
from model.router import SoftmaxRouter
from model.transformer import Transformer
from model.watching import Watcher, watch_contract
from tests.models import small_config, small_dsr

SHARES = [0.1, 0.4, 0.2, 0.3]  # of a gate's four experts: it chooses 1 and 3
ONE_TD = torch.ones(1, 1)
TOKENS_BS = torch.tensor([[0, 5, 9, 1, 7], [0, 2, 2, 30, 4]])
ALL = range(8)

Block = Callable[[Transformer], AbstractContextManager[None]]
BLOCKS: dict[str, Block] = {
    "masked": lambda model: masked(model, {0: [1], 1: [2, 3]}),
    "masked_top": lambda model: masked_top(model, 2),
    "forced": lambda model: forced(model, {1: [0]}),
    "activated": lambda model: activated(model, 3),
    "scaled": lambda model: scaled(model, {0: list(ALL)}, factor=0.5),
    "without_shared": without_shared,
}


class OneLayer(nn.Module):
    """A model of one MoE layer: its output is what its experts were handed."""

    shared_experts = admission = None
    num_experts = 4
    takes_choices = True

    def __init__(self, gate: nn.Module, rule: GateRule, *, top_k: int) -> None:
        super().__init__()
        self.gate, self.rule = gate, rule
        self.k_range = top_k, top_k
        self.experts = nn.Identity()

    def moe_layers(self) -> list["OneLayer"]:
        return [self]

    def watch(self, watcher: Watcher) -> list[RemovableHandle]:
        return watch_contract(self, watcher)

    def neurons(self) -> np.ndarray:
        return np.zeros((4, 1, 3, 1))

    def forward(self, x_TD: Tensor) -> dict[int, object]:
        _, weights_TK, expert_ids_TK = self.gate(x_TD)
        chosen = zip(expert_ids_TK[0].tolist(), weights_TK[0].tolist(), strict=True)
        return {expert: pytest.approx(weight) for expert, weight in chosen}


def layer(*, top_k: int = 2, bias_E: list[float] | None = None) -> OneLayer:
    config = replace(
        small_config(),
        hidden_dim=1,
        num_experts=4,
        top_k=top_k,
        balancing="loss" if bias_E is None else "bias",
    )
    gate = SoftmaxRouter(config)
    gate.weight_ED.data = torch.tensor(SHARES).log().unsqueeze(1)
    if bias_E is not None:
        gate.bias_E = torch.tensor(bias_E)
    return OneLayer(gate, gate, top_k=top_k)


@pytest.fixture
def model() -> Iterator[Transformer]:
    model = Transformer(small_config()).eval()
    model.initialize(seed=0)
    with torch.inference_mode():
        yield model


def hooks(model: nn.Module) -> list[int]:
    return [len(module._forward_hooks) for module in model.modules()]


def decided(model: Transformer) -> Decisions:
    with recorded_routing(model) as recording:
        model(TOKENS_BS)
        return recording.take()


def test_a_masked_expert_is_replaced_by_the_next_best_with_its_own_weight() -> None:
    with masked(one := layer(), {0: [1]}):
        assert one(ONE_TD) == {3: 0.3, 2: 0.2}  # not renormalized, as the gate does


def test_the_bias_chooses_among_the_rest_and_is_not_in_the_weight() -> None:
    with masked(one := layer(bias_E=[0.5, 0.0, 0.0, 0.0]), {0: [1]}):
        assert one(ONE_TD) == {3: 0.3, 0: 0.1}


def test_the_top_experts_of_each_token_are_masked() -> None:
    one = layer(top_k=1)
    with masked_top(one, 2):  # 1 and 3
        assert one(ONE_TD) == {2: 0.2}


def test_a_forced_expert_takes_the_place_of_the_last_choice() -> None:
    with forced(one := layer(), {0: [0]}):
        assert one(ONE_TD) == {1: 0.4, 0: 0.1}


def test_more_or_fewer_experts_are_activated() -> None:
    one = layer()
    with activated(one, 1):
        assert one(ONE_TD) == {1: 0.4}
    with activated(one, 3):
        assert one(ONE_TD) == {1: 0.4, 3: 0.3, 2: 0.2}


def test_a_scaled_expert_keeps_its_place() -> None:
    with scaled(one := layer(), {0: [1]}, factor=0.25):
        assert list(one(ONE_TD)) == [1, 3]
        assert one(ONE_TD) == {1: 0.1, 3: 0.3}


@pytest.fixture
def dynamic() -> Iterator[Transformer]:
    model = Transformer(small_dsr()).eval()
    model.initialize(seed=0)
    with torch.inference_mode():
        yield model


def test_a_dynamic_gate_that_is_not_changed_decides_as_before(dynamic: Transformer) -> None:
    before = decided(dynamic)
    with scaled(dynamic, {0: [3]}, factor=1.0):
        after = decided(dynamic)
    assert (after.expert_ids_TLK == before.expert_ids_TLK).all()
    assert (after.weights_TLK == before.weights_TLK).all()


def test_a_dynamic_gate_fills_up_to_its_weight_with_the_rest(dynamic: Transformer) -> None:
    with masked(dynamic, {0: [3]}):
        ids_TK = decided(dynamic).expert_ids_TLK[:, 0]
    assert not (ids_TK == 3).any()
    assert set((ids_TK >= 0).sum(-1).tolist()) <= {2, 3, 4, 5, 6}


def test_a_dynamic_gate_can_be_given_a_fixed_number(dynamic: Transformer) -> None:
    with activated(dynamic, 5):
        assert (decided(dynamic).expert_ids_TLK >= 0).sum(-1).tolist() == [
            [5, 5]
        ] * TOKENS_BS.numel()


def test_a_forced_expert_is_taken_whatever_the_weight(dynamic: Transformer) -> None:
    with forced(dynamic, {1: [7]}):
        assert (decided(dynamic).expert_ids_TLK[:, 1] == 7).any(-1).all()


def test_nested_changes_are_all_in_force_and_end_one_by_one() -> None:
    one = layer()
    with masked(one, {0: [1]}):
        with masked(one, {0: [3]}), scaled(one, {0: [2]}, factor=2.0):
            assert one(ONE_TD) == {2: 0.4, 0: 0.1}
        assert one(ONE_TD) == {3: 0.3, 2: 0.2}
    assert one(ONE_TD) == {1: 0.4, 3: 0.3}


def test_of_two_changes_that_contradict_the_inner_one_decides() -> None:
    one = layer()
    with masked(one, {0: [0]}), forced(one, {0: [0]}):
        assert 0 in one(ONE_TD)
    with forced(one, {0: [0]}), masked(one, {0: [0]}):
        assert 0 not in one(ONE_TD)


class RenormalizedGate(nn.Module):
    """Two of four, with weights that sum to `total`, each to the power `power`."""

    def __init__(self, total: float = 1.0, power: float = 1.0) -> None:
        super().__init__()
        self.total, self.power = total, power

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits_TE = torch.tensor([SHARES]).log()
        weights_TK, expert_ids_TK = logits_TE.softmax(-1).topk(2)
        weights_TK = weights_TK / weights_TK.sum(-1, keepdim=True)
        return logits_TE, self.total * weights_TK**self.power, expert_ids_TK


def test_weights_that_summed_to_1_do_so_again() -> None:
    with masked(one := OneLayer(RenormalizedGate(), layer().rule, top_k=2), {0: [1]}):
        assert one(ONE_TD) == {3: 0.6, 2: 0.4}


def test_a_gate_that_weighs_in_an_unknown_way_is_refused() -> None:
    one = OneLayer(RenormalizedGate(power=2.0), layer().rule, top_k=2)
    with masked(one, {0: [1]}), pytest.raises(ValueError, match="does not weigh experts"):
        one(ONE_TD)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_changes_the_output_and_leaves_nothing_behind(
    name: str, model: Transformer
) -> None:
    before, hooked = model(TOKENS_BS), hooks(model)
    names = set(vars(model.moe_layers()[0].gate))
    with BLOCKS[name](model):
        assert not torch.equal(model(TOKENS_BS), before)
    assert torch.equal(model(TOKENS_BS), before)
    assert hooks(model) == hooked
    assert set(vars(model.moe_layers()[0].gate)) == names


@pytest.mark.parametrize("name", BLOCKS)
def test_an_error_in_a_block_leaves_nothing_behind(name: str, model: Transformer) -> None:
    before, hooked = model(TOKENS_BS), hooks(model)
    with pytest.raises(KeyError), masked(model, {0: [0]}), BLOCKS[name](model):
        raise KeyError
    assert hooks(model) == hooked
    assert torch.equal(model(TOKENS_BS), before)


def test_changes_that_change_nothing_change_no_bit(model: Transformer) -> None:
    before = model(TOKENS_BS)
    with ExitStack() as stack:
        for block in (activated(model, 2), scaled(model, {0: ALL}, factor=1.0)):
            stack.enter_context(block)
        stack.enter_context(masked(model, {0: []}))
        assert torch.equal(model(TOKENS_BS), before)


def test_a_capture_records_what_was_executed(model: Transformer) -> None:
    untouched = decided(model)
    with masked(model, {1: [0, 1, 2]}):
        changed = decided(model)
    assert set(changed.expert_ids_TLK[:, 1].ravel()) <= {3, 4, 5, 6, 7}
    assert (changed.expert_ids_TLK[:, 0] == untouched.expert_ids_TLK[:, 0]).all()
    with activated(model, 3):
        assert decided(model).expert_ids_TLK.shape[-1] == 3


def test_a_masked_expert_is_not_reached(model: Transformer) -> None:
    with masked(model, {0: [4]}):
        before = model(TOKENS_BS)
        model.moe_layers()[0].experts.down_EFD[4] = 99.0
        assert torch.equal(model(TOKENS_BS), before)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (lambda model: masked(model, {0: [8]}), "experts 0 to 7, not 8"),
        (lambda model: masked(model, {2: [0]}), "MoE layers 0 to 1, not 2"),
        (lambda model: masked(model, {0: list(range(7))}), "fewer than 2 experts"),
        (lambda model: masked_top(model, 7), "mask 0 to 6"),
        (lambda model: forced(model, {0: [-1]}), "experts 0 to 7, not -1"),
        (lambda model: forced(model, {0: [0, 1, 2]}), "3 experts"),
        (lambda model: activated(model, 9), "chooses 1 to 8 experts, not 9"),
        (lambda model: activated(model, 0), "chooses 1 to 8 experts, not 0"),
    ],
)
def test_what_cannot_be_changed_is_refused(block: Block, message: str, model: Transformer) -> None:
    hooked = hooks(model)
    with pytest.raises(ValueError, match=message), block(model):
        model(TOKENS_BS)
    assert hooks(model) == hooked


def test_a_model_without_shared_experts_has_none_to_leave_out() -> None:
    bare = Transformer(replace(small_config(), num_shared_experts=0))
    with pytest.raises(ValueError, match="without shared experts"), without_shared(bare):
        pass


def test_a_dense_model_has_nothing_to_change() -> None:
    with (
        pytest.raises(ValueError, match="no MoE layer"),
        intervene.masked(Transformer(dense_twin(small_config())), {0: []}),
    ):
        pass
