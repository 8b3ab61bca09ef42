from itertools import combinations

import numpy as np
import pytest

from analysis import coactivation

PAIRS_EE = np.array([[0, 5, 0, 0], [5, 0, 3, 0], [0, 3, 0, 0], [0, 0, 0, 0]])  # of 8 tokens
TOKENS_E = np.array([5, 8, 3, 0])


def every_choice(num_experts: int, top_k: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Pairs, loads and tokens when each set of k experts is chosen once."""
    pairs_EE = np.zeros((num_experts, num_experts), dtype=int)
    tokens_E = np.zeros(num_experts, dtype=int)
    sets = list(combinations(range(num_experts), top_k))
    for chosen in sets:
        tokens_E[list(chosen)] += 1
        for a, b in combinations(chosen, 2):
            pairs_EE[[a, b], [b, a]] += 1
    return pairs_EE, tokens_E, len(sets)


def test_rate_is_the_chance_of_the_column_given_the_row() -> None:
    rate_EE = coactivation.coactivation_rate(PAIRS_EE, TOKENS_E)
    assert rate_EE[0, 1:].tolist() == [1.0, 0.0, 0.0]  # expert 1 always comes with expert 0
    assert rate_EE[1, [0, 2]].tolist() == [5 / 8, 3 / 8]
    assert np.isnan(rate_EE[3]).all()  # dead
    assert np.isnan(rate_EE.diagonal()).all()


def test_lift_compares_with_independent_choices() -> None:
    lift_EE = coactivation.coactivation_lift(PAIRS_EE, TOKENS_E, 8)
    assert lift_EE[0, 1] == 1.0  # 5/8 together, 5/8 x 8/8 apart
    assert lift_EE[0, 2] == 0.0
    assert np.isnan(lift_EE[0, 3])


@pytest.mark.parametrize(("num_experts", "top_k"), [(4, 2), (6, 3), (6, 1), (5, 5)])
def test_the_null_is_exact_when_every_set_is_chosen_equally(num_experts: int, top_k: int) -> None:
    pairs_EE, tokens_E, num_tokens = every_choice(num_experts, top_k)
    off_diagonal = ~np.eye(num_experts, dtype=bool)
    lift_EE = coactivation.coactivation_lift(pairs_EE, tokens_E, num_tokens)
    null = coactivation.coactivation_null(pairs_EE, tokens_E, num_tokens)
    assert null == pytest.approx((top_k - 1) * num_experts / (top_k * (num_experts - 1)))
    assert lift_EE[off_diagonal] == pytest.approx(null)
    rate_EE = coactivation.coactivation_rate(pairs_EE, tokens_E)
    assert rate_EE[off_diagonal] == pytest.approx((top_k - 1) / (num_experts - 1))


def test_the_null_mixes_the_numbers_chosen() -> None:
    one_EE, one_E, ones = every_choice(4, 1)  # 4 tokens choose one of four
    all_EE, all_E, alls = every_choice(4, 4)  # and 1 token all of them
    pairs_EE, tokens_E, num_tokens = one_EE + all_EE, one_E + all_E, ones + alls
    lift_EE = coactivation.coactivation_lift(pairs_EE, tokens_E, num_tokens)
    null = coactivation.coactivation_null(pairs_EE, tokens_E, num_tokens)
    assert null == lift_EE[0, 1] == 1.25  # 1/5 together, 2/5 x 2/5 apart


def test_no_tokens_and_one_expert_have_no_null() -> None:
    with pytest.raises(ValueError, match="no routed tokens"):
        coactivation.coactivation_null(np.zeros((4, 4)), np.zeros(4), 0)
    with pytest.raises(ValueError, match="one expert"):
        coactivation.coactivation_null(np.zeros((1, 1)), np.ones(1), 1)


def test_pairs_that_loads_explain_are_none_and_planted_pairs_are_many() -> None:
    pairs_EE, tokens_E, _ = every_choice(4, 2)
    assert coactivation.pairs_beyond_loads(pairs_EE, tokens_E) == pytest.approx(0)
    apart_EE = np.zeros((4, 4), int)
    apart_EE[[0, 1, 2, 3], [1, 0, 3, 2]] = 3  # of 6 pairs that would be alike, two have all
    assert coactivation.pairs_beyond_loads(apart_EE, np.full(4, 3)) == pytest.approx(2 / 3)
    assert np.isnan(coactivation.pairs_beyond_loads(np.zeros((4, 4), int), np.full(4, 3)))
