"""The balance losses, by hand. Four experts, two chosen a token."""

import pytest
import torch

from model.losses import device_balance, expert_balance, load_and_probability, tokens_per_expert

KEEP_T = torch.tensor([True, True])


def balances(expert_ids: list[list[int]], scores: list[list[float]]) -> tuple[float, float]:
    expert_ids_TK, scores_TE = torch.tensor(expert_ids), torch.tensor(scores)
    tokens_E = tokens_per_expert(expert_ids_TK, KEEP_T, 4)
    load_E, probability_E = load_and_probability(scores_TE, tokens_E, KEEP_T)
    return (
        expert_balance(load_E, probability_E).item(),
        device_balance(load_E, probability_E, groups=2).item(),
    )


def test_both_are_one_at_perfect_balance() -> None:
    found = balances([[0, 1], [2, 3]], [[0.25] * 4, [0.25] * 4])
    assert found == pytest.approx((1.0, 1.0))


def test_collapse_onto_one_device() -> None:
    # f = 4 / (2 * 2) * [2, 2, 0, 0] = [2, 2, 0, 0], P = [.5, .5, 0, 0]: 2 * .5 + 2 * .5
    # f' = [2, 0], P' = [1, 0]
    found = balances([[0, 1], [1, 0]], [[0.5, 0.5, 0, 0]] * 2)
    assert found == pytest.approx((2.0, 2.0))


def test_devices_may_be_balanced_while_experts_are_not() -> None:
    # f = [2, 0, 2, 0], P = [.5, 0, .5, 0]; f' = [1, 1], P' = [.5, .5]
    found = balances([[0, 2], [2, 0]], [[0.5, 0, 0.5, 0]] * 2)
    assert found == pytest.approx((2.0, 1.0))


def test_padding_counts_nowhere() -> None:
    expert_ids_TK = torch.tensor([[0, 1], [3, 3]])
    tokens_E = tokens_per_expert(expert_ids_TK, torch.tensor([True, False]), 4)
    assert tokens_E.tolist() == [1, 1, 0, 0]
