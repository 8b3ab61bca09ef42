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
    null = coactivation.coactivation_null(num_experts, top_k)
    assert lift_EE[off_diagonal] == pytest.approx(null)
    rate_EE = coactivation.coactivation_rate(pairs_EE, tokens_E)
    assert rate_EE[off_diagonal] == pytest.approx((top_k - 1) / (num_experts - 1))
    rate_null = coactivation.coactivation_rate_null(num_experts, top_k)
    assert rate_null == pytest.approx((top_k - 1) / (num_experts - 1))
    varying = coactivation.varying_coactivation_null(pairs_EE, tokens_E, num_tokens)
    assert varying == pytest.approx(null)


def test_the_null_of_six_of_64_is_below_one() -> None:
    assert coactivation.coactivation_null(64, 6) == pytest.approx(5 * 64 / (6 * 63))  # 0.847


def test_the_varying_null_mixes_the_numbers_chosen() -> None:
    one_EE, one_E, ones = every_choice(4, 1)  # 4 tokens choose one of four
    all_EE, all_E, alls = every_choice(4, 4)  # and 1 token all of them
    pairs_EE, tokens_E, num_tokens = one_EE + all_EE, one_E + all_E, ones + alls
    lift_EE = coactivation.coactivation_lift(pairs_EE, tokens_E, num_tokens)
    null = coactivation.varying_coactivation_null(pairs_EE, tokens_E, num_tokens)
    assert null == lift_EE[0, 1] == 1.25  # 1/5 together, 2/5 x 2/5 apart


def test_one_expert_has_no_pairs() -> None:
    with pytest.raises(ValueError, match="2 experts"):
        coactivation.coactivation_null(1, 1)


def test_no_tokens_have_no_varying_null() -> None:
    with pytest.raises(ValueError, match="no routed tokens"):
        coactivation.varying_coactivation_null(np.zeros((4, 4)), np.zeros(4), 0)


def test_transition_probability_adds_up_to_one() -> None:
    tokens_EE = np.array([[4, 4, 2, 0], [0, 0, 0, 0]])
    probability_EE = coactivation.transition_probability(tokens_EE)
    assert probability_EE[0].tolist() == [0.4, 0.4, 0.2, 0.0]
    assert np.isnan(probability_EE[1]).all()  # a dead expert is followed by nothing


def test_transitions_that_follow_the_loads_have_lift_1() -> None:
    tokens_EE = np.array([[4, 2, 0], [2, 1, 0], [0, 0, 0]])  # rows 6 and 3, columns 6 and 3, of 9
    assert coactivation.transition_lift(tokens_EE)[:2, :2].tolist() == [[1, 1], [1, 1]]
    assert np.isnan(coactivation.transition_lift(tokens_EE)[2]).all()
