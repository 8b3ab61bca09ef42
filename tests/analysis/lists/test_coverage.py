import numpy as np
import pandas as pd
import pytest

from analysis.groups import NOT_ENOUGH
from analysis.lists.coverage import NEVER, coverage_table, usage_groups
from analysis.ratios import ratio_interval, ratio_interval_of_each


def test_experts_are_rare_below_what_is_needed_and_busy_from_twice_the_mean() -> None:
    tokens_LE = np.array([[10, 20, 90], [40, 40, 0]])  # means 40 and, of two experts, 40
    group_LE = usage_groups(tokens_LE, needed=20, experts_L=np.array([3, 2]))
    assert group_LE.tolist() == [[0, 1, 2], [1, 1, -1]]


def test_a_rare_expert_needs_so_many_times_the_text() -> None:
    tokens_NLE = np.tile(np.array([[30, 10, 0]]), (20, 1, 1))
    tokens_NLE[::2, 0] += (2, -2, 0)
    tokens_NLE[1::2, 0] += (-2, 2, 0)
    table = coverage_table(tokens_NLE, np.zeros(20, int), experts_L=np.array([3]), needed=500)
    assert table.tokens.tolist() == [600, 200, 0]
    assert table.group.tolist() == ["busy", "rare", "rare"]
    enough, rare, never = table.to_dict("records")
    assert rare["times"] == 2.5  # 500 / 200
    assert 2.2 < rare["times_low"] < 2.5 < rare["times_high"] < 2.9
    assert pd.isna(enough["times"])
    assert enough["sure"]
    assert rare["sure"]
    assert never["note"] == NEVER


def test_an_expert_near_what_is_needed_is_rare_but_not_surely() -> None:
    rng = np.random.default_rng(0)
    share_NE = rng.dirichlet([2.0, 2.0], size=20)
    tokens_NLE = rng.multinomial(100, share_NE)[:, None]
    needed = int(tokens_NLE[:, 0, 0].sum()) + 1
    table = coverage_table(tokens_NLE, np.zeros(20, int), experts_L=np.array([2]), needed=needed)
    assert table.group[0] == "rare"
    assert not table.sure[0]


def test_few_groups_leave_the_amount_of_text_without_ends() -> None:
    tokens_NLE = np.array([[[3, 1]], [[2, 2]]])
    table = coverage_table(tokens_NLE, np.zeros(2, int), experts_L=np.array([2]), needed=10)
    assert table.times.tolist() == [2, pytest.approx(10 / 3)]
    assert table.times_low.isna().all()
    assert (table.note == NOT_ENOUGH).all()
    assert not table.sure.any()


def test_the_ends_hold_what_more_text_of_the_kind_shows() -> None:
    """95 of 100 intervals, when the rate is known: here 0.1 of the choices."""
    rng = np.random.default_rng(1)
    held, tried = 0, 300
    for _ in range(tried):
        share_NE = rng.dirichlet([2.0, 18.0], size=30)
        tokens_NLE = rng.multinomial(60, share_NE)[:, None]
        row = coverage_table(
            tokens_NLE, np.zeros(30, int), experts_L=np.array([2]), needed=1_000
        ).iloc[0]
        truth = 1_000 / (0.1 * tokens_NLE.sum())
        held += row.times_low <= truth <= row.times_high
    assert held / tried > 0.91


def test_intervals_of_many_ratios_are_those_of_each() -> None:
    rng = np.random.default_rng(2)
    size_N, domain_id_N = rng.integers(50, 90, size=30), np.repeat([0, 1], 15)
    amount_NP = rng.binomial(size_N[:, None], [0.1, 0.3, 0.5], size=(30, 3))
    for domains_N in (domain_id_N, domain_id_N * 0):
        together = ratio_interval_of_each(amount_NP, size_N, domains_N)
        for place in range(3):
            one = ratio_interval(amount_NP[:, place], size_N, domains_N)
            assert [together[end][place] for end in one] == pytest.approx(list(one.values()))
