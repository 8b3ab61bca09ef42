"""Experts that stay INT8 in memory give what the numbers give that they stand for."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.checkpoint import load_model, load_tensors, save_model
from model.compress import with_int8_experts
from model.config import CLOSED
from model.counting import parameters
from model.int8_experts import Int8Experts
from model.kernels import cpu_int8
from model.moe import Experts, new_experts
from model.transformer import Transformer
from tests.model.expert_loop import assert_close, loop_over_experts
from tests.models import small_config

FEW, MANY = 3, 40  # tokens: by our products of INT8, and by its numbers


def both_ways(leaders: tuple[int, ...] | None = None) -> tuple[Int8Experts, Experts]:
    torch.manual_seed(0)
    experts = new_experts(20, 12, num_experts=8, leaders=leaders)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    small = Int8Experts(experts)
    return small, Experts(small.gate_up_EDF, small.down_EFD, leaders=leaders)


def routing(tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(tokens, 20), torch.rand(tokens, 8).topk(3).indices, torch.rand(tokens, 3)


@pytest.mark.parametrize("alone", [0, 2**22])  # in threads, and not
@pytest.mark.parametrize("tokens", [1, FEW, MANY])
def test_they_give_what_their_numbers_give(
    tokens: int, alone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_int8, "ALONE", alone)
    small, numbers = both_ways()
    given = routing(tokens)
    assert_close(small(*given), loop_over_experts(numbers, *given).detach())


@pytest.mark.parametrize("tokens", [FEW, MANY])
def test_empty_places_and_closed_experts_add_nothing(tokens: int) -> None:
    small, numbers = both_ways(leaders=(0, 0, 2, 3, CLOSED, 5, 2, 7))
    x_TD, ids_TK, weights_TK = routing(tokens)
    ids_TK[:, 2] = -1
    weights_TK[:, 2] = 0
    assert_close(small(x_TD, ids_TK, weights_TK), numbers(x_TD, ids_TK, weights_TK).detach())


def test_nothing_in_gives_nothing_out() -> None:
    small, _ = both_ways()
    none_TK = torch.full((FEW, 3), -1)
    assert not small(torch.randn(FEW, 20), none_TK, torch.zeros(FEW, 3)).any()
    assert small(*routing(0)).shape == (0, 20)


def test_a_number_that_is_none_stays_in_its_token() -> None:
    small, _ = both_ways()
    x_TD, ids_TK, weights_TK = routing(FEW)
    x_TD[1, 3] = torch.nan
    found_TD = small(x_TD, ids_TK, weights_TK)
    assert found_TD.isnan().any(-1).tolist() == [False, True, False]


def test_gradients_go_through_them() -> None:
    small, numbers = both_ways()
    x_TD, ids_TK, weights_TK = routing(FEW)
    x_TD.requires_grad_()
    weights_TK.requires_grad_()
    found, expected = (
        torch.autograd.grad(each(x_TD, ids_TK, weights_TK).square().sum(), (x_TD, weights_TK))
        for each in (small, numbers)
    )
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)


def test_a_loaded_model_keeps_a_byte_a_weight_and_is_the_same_model(tmp_path: Path) -> None:
    model = Transformer(small_config())
    model.initialize(seed=0)
    save_model(with_int8_experts(model.eval()), tmp_path)
    loaded = load_model(tmp_path)
    assert parameters(loaded) == parameters(model)
    stored = load_tensors(tmp_path, loaded.config)
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    for moe in loaded.moe_layers():
        assert {each.dtype for each in moe.experts.parameters()} == {torch.int8}
    for name in [name for name in stored if ".experts." in name]:
        assert torch.equal(state[name], stored[name])
