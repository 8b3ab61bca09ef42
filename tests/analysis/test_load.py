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


def tokens_by_k(k: int, tokens: int, num_experts: int = 4) -> np.ndarray:
    tokens_K = np.zeros(num_experts + 1, int)
    tokens_K[k] = tokens
    return tokens_K


def test_the_chance_of_absence_is_a_product_over_tokens() -> None:
    tokens_LK = np.array([tokens_by_k(1, 2), tokens_by_k(1, 2) + tokens_by_k(2, 1)])
    assert load.absence_chance(tokens_LK).tolist() == pytest.approx([9 / 16, 9 / 32])
    assert load.absence_chance(tokens_by_k(4, 1)[None]).tolist() == [0.0]  # every expert runs
    assert load.absence_chance(tokens_by_k(0, 9)[None]).tolist() == [1.0]  # all were dropped


def test_a_balanced_router_leaves_out_as_many_experts_as_the_chance_says() -> None:
    rng = np.random.default_rng(0)
    ids = rng.random((2000, 20, 64)).argsort(-1)[..., :6]  # 2,000 layers of 20 tokens
    left_out = 64 - np.array([len(np.unique(layer)) for layer in ids])
    expected = 64 * load.absence_chance(tokens_by_k(6, 20, 64)[None])[0]
    assert left_out.mean() == pytest.approx(expected, rel=0.03)  # 8.9


def test_an_expert_is_dead_only_where_its_absence_is_more_than_chance() -> None:
    tokens_LE = np.array([[9, 9, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]])
    tokens_LK = np.array([tokens_by_k(1, 18), tokens_by_k(0, 18), tokens_by_k(1, 2)])
    absence = load.absence(tokens_LE, tokens_LK)
    assert absence.dead_LE.sum(-1).tolist() == [2, 0, 0]  # 0.75 ** 18 = 0.006; 0.75 ** 2 = 0.56
    assert (absence.count(), absence.dead(), absence.num_experts()) == (4, 2, 8)
    assert absence.by_chance() == "2.3"  # 4 * 0.5625 + 4 * 0.0056
    assert absence.clause() == (
        "4 of 8 experts were not chosen, where a balanced router would leave out 2.3 of so few "
        "tokens: 2 of them can be called dead"
    )
    assert absence.of_expert(0, 2) == (
        "dead: never chosen, a balanced router leaves out 0.023 of the layer"
    )
    assert absence.of_expert(2, 3) == (
        "not chosen, but a balanced router leaves out 2.2 of the layer with so few tokens"
    )
    assert absence.of_expert(0, 0) == absence.of_expert(1, 0) == ""


def test_absence_in_words() -> None:
    few, many = tokens_by_k(1, 4)[None], tokens_by_k(1, 400)[None]
    assert load.absence(np.array([[100] * 4]), many).clause() == "no expert is dead"
    assert load.absence(np.array([[200, 100, 100, 0]]), many).clause() == (
        "1 of 4 experts is dead, where a balanced router would leave out < 0.01"
    )
    assert load.absence(np.array([[2, 1, 1, 0]]), few).clause() == (
        "1 of 4 experts was not chosen, where a balanced router would leave out 1.3 of so few "
        "tokens: none can be called dead"
    )


@pytest.mark.parametrize("name", ["load_imbalance", "gini", "normalized_entropy", "busiest_share"])
def test_a_layer_without_tokens_is_refused_by_its_number(name: str) -> None:
    with pytest.raises(ValueError, match="layer 1 has no routed tokens"):
        getattr(load, name)(np.array([BALANCED, [0, 0, 0, 0]]))


def test_entropy_of_balance_is_one_and_never_more_by_rounding() -> None:
    share_LE = np.full((1, 64), 1 / 64) * np.array([[1.0], [1 / 3], [7.0]])
    assert (load.normalized_entropy(share_LE) <= 1).all()
    assert load.normalized_entropy(share_LE) == pytest.approx(1)
