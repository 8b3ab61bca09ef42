"""Placements side by side, with intervals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.bootstrap import RESAMPLES
from analysis.placement.maps import Cluster, Placement, in_order
from analysis.placement.sample import Choices, Loads
from analysis.placement.table import BUSIEST, GPUS, READ, Compared, Judges, compare, interval

CLUSTER = Cluster(num_experts=4, num_gpus=2)
EVEN = Placement(np.array([[0, 3, 1, 2]]), CLUSTER)  # expert 0 is busy, expert 3 idle


def judges(seed: int = 0, groups: int = 30, domains: int = 1) -> Judges:
    """Loads around (40, 20, 20, 0) a group, two chosen of 40 tokens."""
    rng = np.random.default_rng(seed)
    tokens_NLE = rng.poisson([40, 20, 20, 0], (groups, 1, 4))
    loads = Loads(tokens_NLE, np.full(groups, 40.0))
    return Judges(loads, np.arange(groups) % domains, None, 8)


def with_choices(of: Judges, groups: int) -> Judges:
    """A token of each of so many groups, which chose experts 0 and 3 of GPUs 0 and 1 in order."""
    tokens = np.repeat(np.arange(groups), 2)
    ids_C = np.tile([0, 3], groups).astype(np.int16)
    choices = Choices(ids_C, tokens, [0, len(ids_C)], np.arange(groups), np.zeros(groups, int))
    return replace(of, choices=choices)


def both(of: Judges) -> Compared:
    return compare({"current": in_order(CLUSTER, 1), "plan": EVEN}, of, before="current")


def test_the_change_is_paired_and_stands_beside_floor_and_ceiling() -> None:
    compared = both(judges())
    before, after = (compared.row(plan, BUSIEST) for plan in ("current", "plan"))
    assert before.low < before.estimate < before.high
    assert before.estimate == pytest.approx(1.5, abs=0.05)  # 60 of 80
    assert after.estimate == pytest.approx(1.0, abs=0.05)
    assert after.change == pytest.approx(after.estimate - before.estimate)
    assert after.change_low < after.change < after.change_high < 0
    assert pd.isna(before.change)
    assert before.balanced == 1
    assert 1 < before["random"] < 2
    assert (before.n_groups, before.n_tokens) == (30, 1200)


def test_a_balance_is_never_above_one_nor_a_busiest_gpu_below() -> None:
    table = both(judges()).table
    assert table.high[table.measure == "balancedness_sglang"].max() <= 1
    assert table.low[table.measure == BUSIEST].min() >= 1


@pytest.mark.parametrize("groups", [1, 9, 12])
def test_what_choices_tell_is_of_the_groups_of_which_they_are_read(groups: int) -> None:
    compared = both(with_choices(judges(), groups))
    before, after = (compared.row(plan, GPUS) for plan in ("current", "plan"))
    assert (before.estimate, after.estimate, after.change) == (2, 1, -1)
    assert (before.n_groups, before.n_tokens) == (groups, 40 * groups)
    assert ("not enough" in before.note) == (groups < 10)
    assert pd.isna(before.low)  # all groups are alike, and nothing is drawn of those not read
    assert compared.row("current", BUSIEST).n_groups == 30


def test_where_tokens_are_unknown_choices_of_one_layer_are_counted() -> None:
    of = judges(groups=12)
    twice_NLE = np.repeat(of.loads.tokens_NLE, 2, axis=1)
    counted = replace(of, loads=Loads(twice_NLE, None))
    assert counted.num_tokens() == of.loads.tokens_NLE.sum()


def test_maps_that_their_own_texts_measure_are_not_said_to_be_sure() -> None:
    compared = both(replace(judges(), made_none=False))
    assert compared.table.low.isna().all()
    assert compared.table.note.str.contains("no other texts").all()
    assert compared.row("current", BUSIEST).estimate == pytest.approx(1.5, abs=0.05)


def test_the_most_even_map_is_named_with_those_that_may_be_as_even() -> None:
    turned = Placement(np.array([[1, 2, 0, 3]]), CLUSTER)  # the same but for the numbers
    plans = {"current": in_order(CLUSTER, 1), "plan": EVEN, "turned": turned}
    assert compare(plans, judges(), before="current").most_even() == ["plan", "turned"]
    alone = {"current": in_order(CLUSTER, 1), "plan": EVEN}
    assert compare(alone, judges(), before="current").most_even() == ["plan"]
    few = compare(alone, judges(groups=6), before="current")
    assert sorted(few.most_even()) == ["current", "plan"]


def test_samples_that_leave_one_group_out_hold_all_others() -> None:
    of = judges(groups=150)
    amount_NC = np.random.default_rng(1).random((150, 3)).astype(np.float32)
    sums_VC = np.concatenate(list(of.samples().sums(amount_NC)))
    assert len(sums_VC) == 1 + RESAMPLES + 150
    without_VN = 1 - np.eye(150)
    np.testing.assert_allclose(sums_VC[0], amount_NC.sum(0), rtol=1e-5)
    np.testing.assert_allclose(sums_VC[1 + RESAMPLES :], without_VN @ amount_NC, rtol=1e-5)


def test_many_groups_need_no_square_of_them() -> None:
    assert judges(groups=3_000).samples().times_VN.shape == (1 + RESAMPLES, 3_000)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """1.5: the busiest GPU of all groups there could be."""
    rows = [both(judges(seed)).row("current", BUSIEST) for seed in range(60)]
    assert sum(row.low <= 1.5 <= row.high for row in rows) >= 52


def test_too_few_groups_have_no_interval_and_say_why() -> None:
    row = both(judges(groups=6)).row("current", BUSIEST)
    assert pd.isna(row.low)
    assert "not enough independent texts" in row.note


def test_groups_that_are_all_alike_have_no_interval() -> None:
    loads = Loads(np.tile([[[3, 2, 2, 1]]], (20, 1, 1)), None)
    row = both(Judges(loads, np.zeros(20, int), None, 8)).row("current", BUSIEST)
    assert row.estimate == 1.25
    assert pd.isna(row.low)


def test_what_the_source_does_not_say_is_left_out() -> None:
    loads = Loads(judges().loads.tokens_NLE, None)
    compared = both(Judges(loads, np.zeros(30, int), None, 8))
    assert not compared.has(READ)
    assert not compared.has(GPUS)
    assert both(judges()).has(READ)


def test_domains_of_one_group_are_drawn_together() -> None:
    assert judges(groups=12, domains=3).strata().tolist() == [0, 1, 2] * 4
    assert judges(groups=12, domains=12).strata().tolist() == [0] * 12


def test_the_order_of_groups_does_not_matter() -> None:
    of = judges()
    turned = Judges(Loads(of.loads.tokens_NLE[::-1], of.loads.size_N), of.domain_id_N, None, 8)
    assert both(of).row("plan", BUSIEST).estimate == pytest.approx(
        both(turned).row("plan", BUSIEST).estimate
    )


def test_an_interval_is_as_wide_as_percentiles_and_their_reflection() -> None:
    rng = np.random.default_rng(0)
    skewed_V = np.concatenate([[1.0], 1 + rng.exponential(0.1, 1000), np.full(20, 1.0)])
    estimate, low, high = interval(skewed_V, np.zeros(20, int))
    assert estimate == 1
    assert high - 1 == pytest.approx(1 - low)
