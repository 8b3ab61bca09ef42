"""Experts on a CPU, groups of them in threads, do what a plain loop over experts does."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data.routing import NO_EXPERT
from model import moe, quickest
from model.config import CLOSED
from model.kernels import cpu_experts, cpu_groups
from model.layers import SwiGLU
from model.moe import Experts
from tests.model.expert_loop import assert_close, loop_over_experts

TOKENS, DIM = 40, 16


@pytest.fixture(autouse=True, params=[1, 2, 5])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Several groups, of several experts each: one after the other, and side by side."""
    monkeypatch.setattr(cpu_groups, "GROUP_ROWS", 16)
    monkeypatch.setattr(cpu_groups, "GROUPS", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def new_experts(leaders: tuple[int, ...] | None = None) -> Experts:
    torch.manual_seed(0)
    experts = moe.new_experts(DIM, 8, num_experts=8, leaders=leaders)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return experts


def routing(places: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Of each token: its row, the experts it chooses, their weights."""
    x_TD = torch.randn(TOKENS, DIM, requires_grad=True)
    weights_TK = torch.rand(TOKENS, places, requires_grad=True)
    return x_TD, torch.rand(TOKENS, 8).topk(places).indices, weights_TK


def output_and_gradients(output_TD: Tensor, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    return [output_TD, *torch.autograd.grad(output_TD.float().square().sum(), inputs)]


@pytest.mark.parametrize("loaded", ["every expert", "two experts"])
def test_outputs_and_gradients_equal_the_loop(loaded: str) -> None:
    experts = new_experts()
    x_TD, expert_ids_TK, weights_TK = routing()
    if loaded == "two experts":
        expert_ids_TK = torch.tensor([[5, 2]]).expand(TOKENS, 2)
    inputs = (x_TD, weights_TK, *experts.parameters())
    found = output_and_gradients(experts.on_cpu(x_TD, expert_ids_TK, weights_TK), inputs)
    loop_TD = loop_over_experts(experts, x_TD, expert_ids_TK, weights_TK)
    for one, other in zip(found, output_and_gradients(loop_TD, inputs), strict=True):
        assert_close(one, other)


def test_the_same_bits_however_threads_take_turns(cores: int) -> None:
    experts = new_experts()
    routed = routing()
    x_TD, _, weights_TK = routed
    inputs = (x_TD, weights_TK, *experts.parameters())
    first, *others = (output_and_gradients(experts.on_cpu(*routed), inputs) for _ in range(5))
    for other in others:
        assert all(map(torch.equal, first, other)), f"{cores} cores"


def test_an_expert_without_tokens_has_a_gradient_of_0() -> None:
    experts = new_experts()
    x_TD, _, weights_TK = routing()
    ids_TK = torch.tensor([[5, 2]]).expand(TOKENS, 2)
    for gradient in output_and_gradients(
        experts.on_cpu(x_TD, ids_TK, weights_TK), tuple(experts.parameters())
    )[1:]:
        assert gradient.flatten(1).any(1).nonzero().flatten().tolist() == [2, 5]


def test_empty_places_are_left_out() -> None:
    experts = new_experts()
    x_TD, expert_ids_TK, weights_TK = routing(places=3)
    empty_TK = torch.tensor([False, False, True]).expand(TOKENS, 3)
    found_TD = experts.on_cpu(
        x_TD, expert_ids_TK.masked_fill(empty_TK, NO_EXPERT), weights_TK.masked_fill(empty_TK, 0.0)
    )
    expected_TD = loop_over_experts(experts, x_TD, expert_ids_TK[:, :2], weights_TK[:, :2])
    inputs = (x_TD, weights_TK, *experts.parameters())
    expected = output_and_gradients(expected_TD, inputs)
    for one, other in zip(output_and_gradients(found_TD, inputs), expected, strict=True):
        assert_close(one, other)


def test_pruned_experts_run_their_leader_and_closed_ones_add_nothing() -> None:
    experts = new_experts(leaders=(0, 0, 2, 3, CLOSED, 5, 2, 7))
    x_TD, expert_ids_TK, weights_TK = routing(places=4)
    place_TK = torch.tensor([0, 0, 1, 2, 0, 3, 1, 4])[expert_ids_TK]
    open_TK = weights_TK.masked_fill(expert_ids_TK == 4, 0.0)
    inputs = (x_TD, weights_TK, *experts.parameters())
    found = output_and_gradients(experts.on_cpu(x_TD, expert_ids_TK, weights_TK), inputs)
    expected_TD = loop_over_experts(experts, x_TD, place_TK, open_TK)
    for one, other in zip(found, output_and_gradients(expected_TD, inputs), strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("tokens", [0, TOKENS])
def test_where_nothing_is_chosen_nothing_is_added(tokens: int) -> None:
    experts = new_experts()
    x_TD = torch.randn(tokens, DIM, requires_grad=True)
    none_TK = torch.full((tokens, 2), NO_EXPERT)
    found = output_and_gradients(
        experts.on_cpu(x_TD, none_TK, torch.zeros(tokens, 2)), (x_TD, *experts.parameters())
    )
    assert found[0].shape == (tokens, DIM)
    assert not any(tensor.any() for tensor in found)


def test_only_what_is_trained_gets_a_gradient() -> None:
    experts = new_experts().requires_grad_(False)
    x_TD, expert_ids_TK, weights_TK = routing()
    loop_TD = loop_over_experts(experts, x_TD, expert_ids_TK, weights_TK)
    found_TD = experts.on_cpu(x_TD, expert_ids_TK, weights_TK.detach())
    (found,) = torch.autograd.grad(found_TD.square().sum(), [x_TD])
    (expected,) = torch.autograd.grad(loop_TD.square().sum(), [x_TD])
    assert_close(found, expected)


def test_inference_gives_the_same() -> None:
    experts = new_experts()
    x_TD, expert_ids_TK, weights_TK = routing()
    expected_TD = experts.on_cpu(x_TD, expert_ids_TK, weights_TK)
    with torch.inference_mode():
        assert torch.equal(experts.on_cpu(x_TD, expert_ids_TK, weights_TK), expected_TD)
        inferred_TD = x_TD * 1
    assert torch.equal(experts.on_cpu(inferred_TD, expert_ids_TK, weights_TK), expected_TD)


@pytest.fixture
def _no_bfloat16_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)


def assert_rounded(found: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> None:
    """Computed in float32 from the same numbers, rounded at the end: 8 bits, 2^-8 at worst."""
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert ((one.float() - other).norm() / other.norm()).item() < 2**-8


@pytest.mark.usefixtures("_no_bfloat16_units")
def test_bfloat16_without_units_for_it_is_float32_rounded() -> None:
    experts = new_experts().bfloat16()
    wide = new_experts()
    wide.load_state_dict(experts.state_dict())
    x_TD, expert_ids_TK, weights_TK = routing()
    narrow_TD = x_TD.detach().bfloat16().requires_grad_()
    wide_TD = narrow_TD.detach().float().requires_grad_()
    direction_TD = torch.randn(TOKENS, DIM).bfloat16()
    found_TD = experts(narrow_TD, expert_ids_TK, weights_TK)  # however few the rows are
    found = torch.autograd.grad(found_TD, (narrow_TD, *experts.parameters()), direction_TD)
    expected_TD = loop_over_experts(wide, wide_TD, expert_ids_TK, weights_TK)
    expected = torch.autograd.grad(expected_TD, (wide_TD, *wide.parameters()), direction_TD.float())
    assert_rounded([found_TD, *found], [expected_TD, *expected], torch.bfloat16)


@pytest.mark.usefixtures("_no_bfloat16_units")
def test_under_autocast_weights_and_their_gradients_stay_float32() -> None:
    experts = new_experts()
    x_TD, expert_ids_TK, weights_TK = routing()
    inputs = (weights_TK, *experts.parameters())
    narrow_TD = x_TD.detach().bfloat16()
    direction_TD = torch.randn(TOKENS, DIM).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found_TD = experts(narrow_TD, expert_ids_TK, weights_TK)
        found = torch.autograd.grad(found_TD, inputs, direction_TD)
    expected_TD = loop_over_experts(experts, narrow_TD.float(), expert_ids_TK, weights_TK)
    expected = torch.autograd.grad(expected_TD, inputs, direction_TD.float())
    assert_rounded([found_TD], [expected_TD], torch.bfloat16)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)


@pytest.mark.usefixtures("_no_bfloat16_units")
def test_shared_experts_in_bfloat16_are_float32_rounded() -> None:
    torch.manual_seed(0)
    narrow, wide = SwiGLU(DIM, 8).bfloat16(), SwiGLU(DIM, 8)
    wide.load_state_dict(narrow.state_dict())
    x_TD = torch.randn(TOKENS, DIM).bfloat16()
    assert torch.equal(narrow(x_TD), wide(x_TD.float()).bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(wide(x_TD), narrow(x_TD))


def test_what_is_between_the_products_of_a_swiglu_equals_autograd() -> None:
    gate_up_BSF = torch.randn(2, 5, 16, requires_grad=True)
    gate_BSF, up_BSF = gate_up_BSF.chunk(2, dim=-1)
    expected_BSF = F.silu(gate_BSF) * up_BSF
    found_BSF = cpu_experts.Activated.apply(gate_up_BSF)
    expected = output_and_gradients(expected_BSF, (gate_up_BSF,))
    for one, other in zip(output_and_gradients(found_BSF, (gate_up_BSF,)), expected, strict=True):
        assert_close(one, other)


@pytest.fixture
def _bfloat16_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


@pytest.mark.usefixtures("_bfloat16_units")
def test_with_units_for_it_bfloat16_stays_and_is_as_near_as_grouped_mm() -> None:
    experts = new_experts().bfloat16()
    exact = new_experts()
    exact.load_state_dict(experts.state_dict())
    x_TD, expert_ids_TK, weights_TK = routing()
    narrow_TD = x_TD.detach().bfloat16().requires_grad_()
    wide_TD = narrow_TD.detach().float().requires_grad_()
    direction_TD = torch.randn(TOKENS, DIM).bfloat16()

    def results(layer: Experts, output_TD: Tensor, x_TD: Tensor) -> list[Tensor]:
        inputs = (x_TD, weights_TK, *layer.parameters())
        return [output_TD, *torch.autograd.grad(output_TD, inputs, direction_TD.to(x_TD.dtype))]

    choices = expert_ids_TK, weights_TK
    expected = results(exact, loop_over_experts(exact, wide_TD, *choices), wide_TD)
    found = results(experts, experts.on_cpu(narrow_TD, *choices), narrow_TD)
    usual = results(experts, experts.gathered(narrow_TD, *choices), narrow_TD)
    for one, other, exactly in zip(found, usual, expected, strict=True):
        assert one.dtype == other.dtype
        assert (one - exactly).norm() < 1.2 * (other - exactly).norm()


def test_the_layer_comes_here_with_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    experts, came = new_experts(), []
    monkeypatch.setattr(experts, "on_cpu", lambda x_TD, *_: came.append(len(x_TD)))
    monkeypatch.setattr(quickest, "GROUPS_FROM", 80)
    enough = 40  # tokens, of 2 places
    for tokens in (enough - 1, enough):
        ids_TK = torch.zeros(tokens, 2, dtype=torch.long)
        experts(torch.zeros(tokens, DIM), ids_TK, torch.zeros(tokens, 2))
    assert came == [enough]
