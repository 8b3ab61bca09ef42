"""What follows an expert by its loads alone is found by no test; what is planted, is."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.groups import NOT_ENOUGH
from analysis.pair_table import NEVER, transition_table
from analysis.transitions import transition_significance
from tests.routers import random_choices


def two_layers(*, seed: int, style: float = 0.0, documents: int = 100) -> tuple[np.ndarray, ...]:
    """Choices of two layers that know nothing of each other, of the same documents."""
    rng = np.random.default_rng(seed)
    layer = partial(
        random_choices, rng, num_tokens=6_000, top_k=2, documents=documents, style=style
    )
    here_TE, document_T = layer(log_weights_E=[1, 0, 0, 0, 0, 0])
    next_TE, _ = layer(log_weights_E=[0, 0, 0, 0, 0, 1])
    return here_TE, next_TE, document_T


def test_counts_and_expectations_of_four_tokens() -> None:
    here_TE = np.eye(2, dtype=bool)[[0, 0, 0, 1]]
    next_TE = np.eye(2, dtype=bool)[[0, 0, 1, 1]]
    table = transition_significance(here_TE, next_TE, np.array([0, 0, 1, 1]))
    assert table.tokens.tolist() == [2, 1, 0, 1]
    assert table.expected.tolist() == [1.5, 1.5, 0.5, 0.5]  # 3 times 2 of 4, then 1 times 2
    assert table.lift.tolist() == pytest.approx([4 / 3, 2 / 3, 0, 2])
    assert set(table.reason) == {NOT_ENOUGH}
    assert table[["low", "high", "z", "p", "q"]].isna().all(axis=None)
    many = transition_significance(
        np.tile(here_TE, (3, 1)), np.tile(next_TE, (3, 1)), np.arange(12)
    )
    assert many.reason.tolist() == ["fewer than 5 tokens expected"] * 4  # 4.5 and 1.5


def test_the_spread_is_that_of_documents_and_the_interval_as_wide_as_its_t() -> None:
    """12 groups of 40 tokens: 14, 10, 6 and 10 of them go from 0 to 0, loads all half."""
    here, following = [], []
    for joined in (14, 10, 6, 10) * 3:
        pairs = [(0, 0)] * joined + [(1, 1)] * joined
        pairs += [(0, 1)] * (20 - joined) + [(1, 0)] * (20 - joined)
        here += [a for a, _ in pairs]
        following += [b for _, b in pairs]
    eye = np.eye(2, dtype=bool)
    found = transition_significance(eye[here], eye[following], np.repeat(range(12), 40)).iloc[0]
    assert (found.tokens, found.expected, found.z, found.p) == (120, 120, 0, 1)
    least = 480 / 4 / 4  # independent tokens: T p (1 - p) q (1 - q)
    spread = 3 * (4**2 + 0 + 4**2 + 0) * 12 / 11  # 104.7, more
    assert spread > least
    half = stats.t.isf(0.025, 11) * np.sqrt(spread) / 120
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half))


def test_documents_with_a_style_of_their_own_are_no_transitions() -> None:
    p = np.concatenate(
        [transition_significance(*two_layers(seed=seed, style=1.0)).p for seed in range(10)]
    )
    assert len(p) == 360
    assert (p < 0.05).mean() < 0.065


def test_independent_layers_pass_the_test_as_often_as_they_should() -> None:
    p = np.concatenate([transition_significance(*two_layers(seed=seed)).p for seed in range(10)])
    assert (p < 0.05).mean() < 0.065
    assert (p < 0.5).mean() > 0.4


def test_a_planted_transition_stands_out() -> None:
    here_TE, next_TE, document_T = two_layers(seed=1)
    led_T = here_TE[:, 2] & (np.arange(len(document_T)) % 2 == 0)
    next_TE[led_T] = np.eye(6, dtype=bool)[3] | np.eye(6, dtype=bool)[5]
    table = transition_significance(here_TE, next_TE, document_T)
    best = table.iloc[table.z.argmax()]
    assert (best.expert_id, best.next_expert_id) == (2, 3)
    assert best.low > 1.3
    assert best.q < 1e-6


def test_what_loads_fix_and_one_document_have_reasons_and_no_test() -> None:
    here_TE, next_TE, document_T = two_layers(seed=2)
    here_TE[:, 0], here_TE[:, 1] = True, False
    table = transition_significance(here_TE, next_TE, document_T)
    reasons = table.set_index(["expert_id", "next_expert_id"]).reason
    assert reasons[(0, 0)] == "an expert that every token chose"
    assert reasons[(1, 0)] == "an expert that was never chosen"
    assert reasons[(2, 0)] == ""
    assert table[table.reason != ""].p.isna().all()
    alone = transition_significance(here_TE, next_TE, np.zeros_like(document_T))
    assert alone[alone.expert_id == 2].reason.unique().tolist() == [NOT_ENOUGH]


def test_tokens_that_made_no_choice_in_a_layer_are_left_out() -> None:
    here_TE, next_TE, document_T = two_layers(seed=3)
    next_TE[::2] = False
    whole = transition_significance(here_TE, next_TE, document_T)
    half = transition_significance(here_TE[1::2], next_TE[1::2], document_T[1::2])
    assert whole.equals(half)
    with pytest.raises(ValueError, match="both layers"):
        transition_significance(here_TE, np.zeros_like(next_TE), document_T)


def test_the_table_carries_logs_intervals_tests_and_reasons() -> None:
    here_TE, next_TE, document_T = two_layers(seed=1)
    next_TE[here_TE[:, 0], 4] = False
    tests = transition_significance(here_TE, next_TE, document_T)
    counts = {"n_documents": 300, "n_groups": 100, "n_tokens": 6_000}
    table = transition_table(tests, layer_id=1, counts=counts)
    columns = ["layer_id", "expert_id", "next_expert_id", "tokens", "expected", "estimate"]
    columns += ["low", "high", "z", "p", "q", "n_documents", "n_groups", "n_tokens", "reason"]
    assert list(table) == columns
    assert table.z.abs().is_monotonic_decreasing
    never = table[(table.expert_id == 0) & (table.next_expert_id == 4)].iloc[0]
    assert never.reason == NEVER
    assert pd.isna(never.estimate)
    assert never.q < 0.05
    known = table[table.tokens > 0]
    assert known.estimate.to_numpy(float) == pytest.approx(
        np.log2((known.tokens / known.expected).to_numpy(float))
    )


def test_the_spread_is_that_of_the_residuals_of_every_group() -> None:
    here_TE, next_TE, document_T = two_layers(seed=3, style=1.0)
    here_TE[::5] &= np.arange(6) == here_TE[::5].argmax(-1)[:, None]  # a fifth chooses one
    table = transition_significance(here_TE, next_TE, document_T)
    tokens_EE = here_TE.T.astype(float) @ next_TE
    share_E1, next_share_E = (
        tokens_EE.sum(1)[:, None] / tokens_EE.sum(),
        tokens_EE.sum(0) / tokens_EE.sum(),
    )
    residuals, made = [], []
    for document in np.unique(document_T):
        of = document_T == document
        both_EE = here_TE[of].T.astype(float) @ next_TE[of]
        made.append(both_EE.sum())
        away_E1 = both_EE.sum(1)[:, None] - made[-1] * share_E1
        residuals.append(both_EE - away_E1 * next_share_E - share_E1 * both_EE.sum(0))
    made_N = np.array(made)
    away_NEE = np.array(residuals)
    away_NEE -= made_N[:, None, None] * away_NEE.sum(0) / made_N.sum()
    effective = made_N.sum() ** 2 / (made_N @ made_N)
    deviation_EE = np.sqrt((away_NEE**2).sum(0) * effective / (effective - 1))
    z_EE = (tokens_EE - tokens_EE.sum() * share_E1 * next_share_E) / deviation_EE
    found_EE = table.z.to_numpy(float).reshape(6, 6)
    assert np.abs(found_EE) == pytest.approx(np.minimum(np.abs(found_EE), np.abs(z_EE)), rel=1e-6)
    assert np.isclose(found_EE, z_EE).mean() > 0.5  # elsewhere independent tokens spread more
