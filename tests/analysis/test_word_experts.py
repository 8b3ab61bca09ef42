"""Layers of four experts, whose loads are given; a word that occurs in some groups."""

import numpy as np
import pandas as pd
import pytest

from analysis.word_experts import COLUMNS, WordSums, word_lift_table

EVEN = np.array([[100.0, 100.0, 100.0, 100.0]])


def rows(counts_NE: np.ndarray) -> pd.DataFrame:
    """Of one layer."""
    group, expert_id = np.nonzero(counts_NE)
    tokens = counts_NE[group, expert_id]
    return pd.DataFrame({"group": group, "layer_id": 0, "expert_id": expert_id, "tokens": tokens})


def table_of(
    counts_NE: np.ndarray, load_LE: np.ndarray = EVEN, experts: int | None = None
) -> pd.DataFrame:
    sums = WordSums.of(rows(counts_NE), num_layers=1, num_experts=load_LE.shape[1])
    return word_lift_table(sums, load_LE, experts_L=np.array([experts or load_LE.shape[1]]))


def test_the_lift_is_the_share_of_the_word_over_the_load_of_the_expert() -> None:
    table = table_of(np.array([[3, 1, 0, 0], [3, 0, 1, 0]]))
    assert list(table) == list(COLUMNS)
    assert table.tokens.tolist() == [6, 1, 1, 0]
    assert table.share.tolist() == [6 / 8, 1 / 8, 1 / 8, 0]
    assert table.load.tolist() == [0.25] * 4
    assert table.expected.tolist() == [2.0] * 4
    assert table.lift.tolist() == [3.0, 0.5, 0.5, 0.0]
    assert (table.n_groups == 2).all()


def test_loads_are_those_of_all_tokens() -> None:
    table = table_of(np.array([[4, 4, 0, 0]]), np.array([[300.0, 100.0, 0.0, 0.0]]))
    assert table.lift.tolist()[:2] == [4 / 6, 4 / 2]
    assert table.lift[2:].isna().all()
    assert table.note.tolist()[2:] == ["never chosen"] * 2


def test_the_interval_is_over_groups() -> None:
    """Twenty groups of 10 choices, 2 and 8 of them of the expert by turns: what a group adds to the
    effect is 2.5 and the rest ±3, so sd = sqrt(20 · 9 · 20/19); t(19) = 2.093."""
    row = table_of(np.array([[2, 4, 2, 2], [8, 1, 1, 0]] * 10)).iloc[0]
    reach = 2.093 * np.sqrt(20 * 9 * 20 / 19)
    assert row.lift == 2.0
    assert row.low == pytest.approx((100 - reach) / 50, abs=1e-4)
    assert row.high == pytest.approx((100 + reach) / 50, abs=1e-4)
    assert 1e-4 < row.p < 0.01


def test_the_spread_is_never_below_that_of_independent_choices() -> None:
    row = table_of(np.array([[5, 2, 2, 1]] * 20)).iloc[0]  # all groups alike
    assert row.low == pytest.approx((100 - 2.093 * np.sqrt(50 * 0.75)) / 50, abs=1e-4)


def test_rows_of_one_group_are_one_observation() -> None:
    counts_NE = np.array([[4, 2, 2, 2], [6, 2, 1, 1]] * 10)
    split = pd.concat([rows(counts_NE), rows(counts_NE)])  # two documents of each group
    sums = WordSums.of(split, num_layers=1, num_experts=4)
    doubled = word_lift_table(sums, EVEN, experts_L=np.array([4]))
    pd.testing.assert_frame_equal(doubled, table_of(2 * counts_NE))
    assert sums.squares_LE[0, 0] == 10 * 8**2 + 10 * 12**2
    assert sums.by_length_LE[0, 0] == 10 * 8 * 20 + 10 * 12 * 20


def test_too_few_groups_or_choices_are_not_tested() -> None:
    few = table_of(np.array([[8, 8, 8, 8]] * 9))
    assert few.q.isna().all()
    assert set(few.note) == {"not enough independent texts to say"}
    rare = table_of(np.array([[1, 0, 0, 0]] * 12), np.array([[10.0, 10.0, 10.0, 70.0]]))
    assert rare.note.tolist() == ["fewer than 5 tokens expected"] * 3 + [""]  # 1.2 and 8.4


def test_a_layer_of_one_expert_and_one_without_choices_say_why() -> None:
    alone = table_of(np.array([[1]] * 12), np.array([[40.0]]))
    assert alone.lift.tolist() == [1.0]
    assert alone.note.tolist() == ["the layer has one expert"]
    empty = table_of(np.zeros((0, 4), int))
    assert empty.tokens.tolist() == [0] * 4
    assert empty[["share", "lift", "q"]].isna().all(axis=None)
    assert not (empty.note == "").any()


def test_a_smaller_layer_has_no_rows_of_experts_that_it_lacks() -> None:
    assert len(table_of(np.array([[2, 2, 0, 0]]), np.array([[5.0, 5.0, 0.0, 0.0]]), 2)) == 2


def test_words_without_a_preference_are_seldom_found() -> None:
    """Groups have loads of their own, which the words share: of 64 experts and 40 such words at
    most 5 % have p < 0.05, give or take three standard errors of 2,560 tests, 1.3 %."""
    rng = np.random.default_rng(0)
    load_E = rng.dirichlet(np.full(64, 5.0))
    found = []
    for _ in range(40):
        sizes_N = rng.integers(30, 200, 60)
        own_NE = rng.dirichlet(200 * load_E, 60)
        counts_NE = np.array([rng.multinomial(*of) for of in zip(sizes_N, own_NE, strict=True)])
        found.append((table_of(counts_NE, load_E[None]).p < 0.05).mean())
    assert np.mean(found) < 0.063
