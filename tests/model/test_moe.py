"""Sorted, grouped experts do what a plain loop over experts does."""

import pytest
import torch

from data.routing import NO_EXPERT
from model.moe import new_experts, new_moe
from tests.model.expert_loop import assert_close, loop_over_experts
from tests.models import small_config


@pytest.mark.parametrize("loaded", ["every expert", "one expert"])
@pytest.mark.parametrize(("dim", "width"), [(16, 8), (15, 7)])
def test_outputs_and_gradients_equal_the_loop(loaded: str, dim: int, width: int) -> None:
    torch.manual_seed(0)
    experts = new_experts(dim, width, num_experts=8)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x_TD = torch.randn(40, dim, requires_grad=True)
    weights_TK = torch.rand(40, 2, requires_grad=True)
    expert_ids_TK = torch.rand(40, 8).topk(2).indices
    if loaded == "one expert":
        expert_ids_TK = torch.tensor([[5, 2]]).expand(40, 2)
    inputs = (x_TD, weights_TK, *experts.parameters())
    direction_TD = torch.randn(40, dim)

    found_TD = experts(x_TD, expert_ids_TK, weights_TK)
    found = torch.autograd.grad((found_TD * direction_TD).sum(), inputs)
    expected_TD = loop_over_experts(experts, x_TD, expert_ids_TK, weights_TK)
    expected = torch.autograd.grad((expected_TD * direction_TD).sum(), inputs)

    assert_close(found_TD, expected_TD)
    for found_gradient, expected_gradient in zip(found, expected, strict=True):
        assert_close(found_gradient, expected_gradient)


@pytest.mark.parametrize("path", ["gathered", "all_of_them"])
def test_both_paths_leave_empty_places_out(path: str) -> None:
    torch.manual_seed(0)
    experts = new_experts(16, 8, num_experts=8)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x_TD = torch.randn(40, 16, requires_grad=True)
    expert_ids_TK = torch.rand(40, 8).topk(3).indices
    weights_TK = torch.rand(40, 3)
    empty_TK = torch.tensor([False, False, True]).expand(40, 3)
    found_TD = getattr(experts, path)(
        x_TD, expert_ids_TK.masked_fill(empty_TK, NO_EXPERT), weights_TK.masked_fill(empty_TK, 0.0)
    )
    expected_TD = loop_over_experts(experts, x_TD, expert_ids_TK[:, :2], weights_TK[:, :2])
    assert_close(found_TD, expected_TD)
    inputs = (x_TD, *experts.parameters())
    found = torch.autograd.grad(found_TD.square().sum(), inputs)
    expected = torch.autograd.grad(expected_TD.square().sum(), inputs)
    for found_gradient, expected_gradient in zip(found, expected, strict=True):
        assert_close(found_gradient, expected_gradient)


def test_an_empty_input_gives_an_empty_output() -> None:
    experts = new_experts(16, 8, num_experts=4)
    empty = experts(torch.zeros(0, 16), torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, 2))
    assert empty.shape == (0, 16)


def test_the_layer_is_shared_experts_plus_weighted_routed_ones() -> None:
    torch.manual_seed(0)
    moe = new_moe(small_config())
    for parameter in moe.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x_BSD = torch.randn(2, 3, 16)
    output_BSD, _, expert_ids_TK = moe(x_BSD, torch.zeros(2, 3, dtype=torch.long))
    _, weights_TK, _ = moe.gate(x_BSD.view(6, 16))
    routed_TD = loop_over_experts(moe.experts, x_BSD.view(6, 16), expert_ids_TK, weights_TK)
    assert moe.shared_experts is not None
    assert_close(output_BSD, (routed_TD + moe.shared_experts(x_BSD.view(6, 16))).view(2, 3, 16))
