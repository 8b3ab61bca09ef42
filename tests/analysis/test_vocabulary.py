import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis import vocabulary

UNIFORM = np.full(64, 1 / 64)


def test_the_share_of_the_busiest_first_expert() -> None:
    tokens_VE = np.array([[3, 1, 0], [0, 0, 1]])
    assert vocabulary.vocabulary_specialization(tokens_VE).tolist() == [0.75, 1.0]


def test_random_routing_over_64_experts_scores_high_for_rare_ids() -> None:
    expected = vocabulary.expected_specialization(np.array([1, 5, 100]), UNIFORM)
    assert expected.round(2).tolist() == [1.0, 0.23, 0.05]


def test_the_expectation_of_two_draws_is_one_where_they_agree_and_half_where_not() -> None:
    expected = vocabulary.expected_specialization(np.array([2]), np.array([0.5, 0.3, 0.2]))
    agree = 0.25 + 0.09 + 0.04
    assert expected[0] == pytest.approx(agree + (1 - agree) / 2)


@pytest.mark.parametrize("share_E", [UNIFORM, np.array([0.9, 0.1]), np.array([0.4, 0.4, 0.2])])
@pytest.mark.parametrize("tokens", [30, 200, 900])
def test_the_expectation_is_that_of_simulated_draws(share_E: np.ndarray, tokens: int) -> None:
    largest = np.random.default_rng(7).multinomial(tokens, share_E, 20_000).max(-1)
    expected = vocabulary.expected_specialization(np.array([tokens]), share_E)
    assert expected[0] == pytest.approx(largest.mean() / tokens, abs=0.0015)


@given(st.integers(0, 2**32), st.sampled_from([2, 3, 8, 40]), st.sampled_from([0.1, 1.0, 30.0]))
@settings(deadline=None, max_examples=15)
def test_many_draws_continue_what_is_exact_for_few(seed: int, experts: int, even: float) -> None:
    """Poisson counts cut off at the maximum, made into a multinomial by brute force."""
    share_E = np.random.default_rng(seed).dirichlet(np.full(experts, even)).clip(1e-6)
    share_E /= share_E.sum()
    draws, exact = 220, 0.0
    places = np.arange(draws + 1)
    for most in range(draws):
        below_n = np.ones(1)
        for share in share_E:
            cut_n = np.where(places <= most, stats.poisson.pmf(places, draws * share), 0.0)
            below_n = np.convolve(below_n, cut_n)[: draws + 1]
        above = 1 - below_n[draws] / stats.poisson.pmf(draws, draws)
        exact += above
        if above < 1e-9:
            break
    expected = vocabulary.expected_specialization(np.array([draws]), share_E)
    assert expected[0] == pytest.approx(exact / draws, abs=1e-3 if experts < 8 else 2e-4)


def test_correction_gives_zero_to_chance_and_one_to_a_single_expert() -> None:
    corrected = vocabulary.corrected_specialization(
        np.array([0.23, 1, 1]), np.array([0.23, 0.23, 1])
    )
    assert corrected[:2].tolist() == [0, 1]
    assert np.isnan(corrected[2])


def test_random_routing_is_corrected_to_nothing() -> None:
    tokens_VE = np.random.default_rng(0).multinomial(20, UNIFORM, size=400)
    row = vocabulary.vocabulary_summary(tokens_VE)
    assert row["share"] == pytest.approx(row["expected"], abs=0.005)
    assert abs(row["corrected"]) < 0.005


def test_table_names_the_ids_above_the_minimum() -> None:
    tokens_VE = np.array([[10, 0], [6, 6], [1, 0]])
    ids = pd.DataFrame({"token_id": [7, 8, 9], "text": [" the", "x", "y"]})
    table = vocabulary.vocabulary_table(tokens_VE, ids)
    assert table.text.tolist() == [" the", "x"]
    assert table.expert_id.tolist() == [0, 0]
    assert table.corrected[0] == 1


def test_summary_says_what_it_leaves_out() -> None:
    empty, rare = np.zeros((2, 2), int), np.array([[3, 0], [1, 1]])
    one_expert = np.array([[20, 0]])
    rows = [vocabulary.vocabulary_summary(layer) for layer in (empty, rare, one_expert)]
    summary = pd.DataFrame(rows).convert_dtypes()
    assert summary.reason.tolist() == [
        "no routed tokens",
        "no token id occurs 10 times",
        "one expert is everyone's first",
    ]
    assert summary.plain[1] == 0.75  # of 1 and 1/2
    assert summary.corrected.isna().all()


def test_a_layer_without_tokens_has_no_table() -> None:
    with pytest.raises(ValueError, match="no routed tokens"):
        vocabulary.vocabulary_table(
            np.zeros((1, 2), int), pd.DataFrame({"token_id": [1], "text": ["a"]})
        )
