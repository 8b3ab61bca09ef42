"""Loads of four experts, small enough to divide in the head."""

import numpy as np
import pytest

from analysis import load

BALANCED, COLLAPSED = [2, 2, 2, 2], [8, 0, 0, 0]
TOKENS_LE = np.array([BALANCED, COLLAPSED])


def test_load_imbalance_is_max_over_mean() -> None:
    assert load.load_imbalance(TOKENS_LE).tolist() == [1.0, 4.0]  # 2 / 2, 8 / 2


def test_max_violation_counts_dead_experts() -> None:
    assert load.max_violation(TOKENS_LE).tolist() == [0.0, 3.0]  # 8 / 2 - 1


def test_gini_of_a_collapsed_layer_is_one_less_one_over_experts() -> None:
    assert load.gini(TOKENS_LE).tolist() == [0.0, 0.75]


def test_gini_is_the_mean_difference_over_twice_the_mean() -> None:
    loads_E = np.array([1, 3])  # mean difference over all four ordered pairs: 1; mean 2
    assert load.gini(loads_E) == 0.25


def test_coefficient_of_variation() -> None:
    assert load.coefficient_of_variation(np.array([1, 3])) == 0.5  # deviation 1, mean 2
    assert load.coefficient_of_variation(TOKENS_LE)[1] == pytest.approx(3**0.5)


def test_normalized_entropy_of_two_equal_experts_of_four_is_a_half() -> None:
    loads_LE = np.array([BALANCED, COLLAPSED, [4, 4, 0, 0]])
    assert load.normalized_entropy(loads_LE).tolist() == pytest.approx([1.0, 0.0, 0.5])


def test_one_expert_is_balanced() -> None:
    assert load.normalized_entropy(np.array([[5]])).tolist() == [1.0]
    assert load.load_imbalance(np.array([[5]])).tolist() == [1.0]


def test_busiest_share() -> None:
    assert load.busiest_share(np.array([[1, 2, 3, 4]])).tolist() == [0.9]  # 9 of 10
    assert load.busiest_share(np.array([[1, 2, 3, 4]]), n=1).tolist() == [0.4]
    assert load.busiest_share(np.array([[1, 1]])).tolist() == [1.0]  # fewer than three experts


def test_dead_experts() -> None:
    assert load.dead_experts(TOKENS_LE).tolist() == [0, 3]


@pytest.mark.parametrize("name", ["load_imbalance", "gini", "normalized_entropy", "busiest_share"])
def test_a_layer_without_tokens_is_refused_by_its_number(name: str) -> None:
    with pytest.raises(ValueError, match="layer 1 has no routed tokens"):
        getattr(load, name)(np.array([BALANCED, [0, 0, 0, 0]]))


def test_entropy_of_balance_is_one_and_never_more_by_rounding() -> None:
    share_LE = np.full((1, 64), 1 / 64) * np.array([[1.0], [1 / 3], [7.0]])
    assert (load.normalized_entropy(share_LE) <= 1).all()
    assert load.normalized_entropy(share_LE) == pytest.approx(1)
