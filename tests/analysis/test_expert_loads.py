"""Load of every expert against balance, groups small enough to divide in the head."""

import numpy as np
import pytest

from analysis.expert_loads import expert_load_table
from analysis.groups import NOT_ENOUGH
from tests.planted import holds_no_number_that_is_none

ONE = np.zeros(12, int)  # twelve groups of one domain


def test_a_load_is_the_logarithm_of_its_share_of_the_mean() -> None:
    tokens_NLE = np.tile([[4, 1, 1, 2]], (12, 1, 1))
    table = expert_load_table(tokens_NLE, ONE)
    assert table.estimate.tolist() == [1, -1, -1, 0]  # of a mean of 2
    assert table.n_tokens.tolist() == [48, 12, 12, 24]
    assert table.n_groups.tolist() == [12] * 4


def test_the_interval_comes_from_how_much_groups_differ() -> None:
    tokens_NLE = np.array([[[6, 2]], [[2, 6]]] * 6)
    row = expert_load_table(tokens_NLE, ONE).iloc[0]
    # each is 2 off its half of 8; s = sqrt(12 * 2^2 * 12 / 11) / 48; t of 11 is 2.201
    assert row.high == pytest.approx(2.201 * np.sqrt(12 * 4 * 12 / 11) / 48 / np.log(2), abs=1e-3)
    assert row.low == -row.high
    assert (row.p, row.q) == (1, 1)


def test_few_groups_a_dead_expert_and_a_dead_layer_have_a_reason_and_no_number() -> None:
    tokens_NLE = np.array([[[9, 1, 0], [0, 0, 0]]] * 12)
    tokens_NLE[::4, 0, 1] = 0
    table = expert_load_table(tokens_NLE, ONE)
    assert holds_no_number_that_is_none(table)
    empty = "no token was routed in this layer"
    assert table.note.tolist() == ["", "", "never chosen", *[empty] * 3]
    assert table.low.isna().tolist() == [False, False] + [True] * 4
    assert table.estimate.notna().tolist() == [True, True] + [False] * 4
    few = expert_load_table(tokens_NLE[:9], ONE[:9])
    assert few.note.tolist() == [NOT_ENOUGH, NOT_ENOUGH, "never chosen", *[empty] * 3]
    assert few[["low", "high", "p", "q"]].isna().all(axis=None)
    assert few.estimate.notna().tolist() == [True, True] + [False] * 4


def test_a_giant_group_leaves_too_few_to_say() -> None:
    rng = np.random.default_rng(0)
    tokens_NLE = rng.multinomial(100, rng.dirichlet([20, 20], 30))[:, None]
    zeros_N = np.zeros(30, int)
    assert expert_load_table(tokens_NLE, zeros_N).low.notna().all()
    tokens_NLE[0] *= 20  # counts as (29 + 20)^2 / (29 + 400) = 5.6 groups
    giant = expert_load_table(tokens_NLE, zeros_N)
    assert giant[["low", "p"]].isna().all(axis=None)
    assert set(giant.note) == {NOT_ENOUGH}


def test_groups_all_alike_have_no_interval_and_no_test() -> None:
    """Of unequal length, and shares of 1/7 that float64 does not hold."""
    tokens_NLE = np.array([1, 2, 6])[None, None] * np.arange(3, 43)[:, None, None] * 7
    table = expert_load_table(tokens_NLE, np.arange(40) % 3)
    assert table[["low", "high", "p", "q"]].isna().all(axis=None)
    assert set(table.note) == {"texts all alike: nothing to test"}
    assert table.estimate.tolist() == pytest.approx(np.log2([1 / 3, 2 / 3, 2]).tolist())


def test_one_group_and_one_expert() -> None:
    table = expert_load_table(np.array([[[3, 1]]]), np.zeros(1, int))
    assert set(table.note) == {NOT_ENOUGH}
    assert table.p.isna().all()
    alone = expert_load_table(np.full((12, 1, 1), 3), ONE)
    assert alone.estimate.tolist() == [0]
    assert alone[["low", "high", "p", "q"]].isna().all(axis=None)
    assert alone.note.tolist() == ["texts all alike: nothing to test"]
