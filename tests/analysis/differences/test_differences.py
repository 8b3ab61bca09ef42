import numpy as np
import pandas as pd
import pytest

from analysis.differences.differences import (
    ALIKE,
    NEVER,
    Sample,
    lift_differences,
    load_differences,
    ratio_differences,
)
from analysis.differences.strata import Amounts
from analysis.groups import NOT_ENOUGH
from tests.analysis.differences.overdispersed import DOMAINS, pair_of_samples, two_samples


def one_layer(rows: list[list[int]], domain_id_N: np.ndarray | None = None) -> Sample:
    tokens_NE = np.array(rows)
    domain_id_N = np.zeros(len(tokens_NE), int) if domain_id_N is None else domain_id_N
    return Sample(tokens_NE[:, None], domain_id_N, np.array([tokens_NE.shape[1]]))


def amounts(amount_N: list[float], size_N: list[float]) -> Amounts:
    return Amounts(
        np.array(amount_N, float)[:, None], np.array(size_N, float), np.zeros(len(size_N), int)
    )


def test_the_difference_of_loads_is_that_of_shares() -> None:
    before = one_layer([[6, 2], [5, 3]] * 8)
    after = one_layer([[3, 5], [2, 6]] * 8)
    rows = load_differences(before, after, paired=True)
    assert rows["first"][0] == pytest.approx(11 / 16)
    assert rows["second"][0] == pytest.approx(5 / 16)
    assert rows.estimate[0] == pytest.approx(np.log2(5 / 11))
    assert rows.low[0] < rows.estimate[0] < rows.high[0] < 0
    assert rows.q[0] < 0.05


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("empty", ["first", "second", "both"])
def test_a_layer_without_choices_is_unknown(empty: str) -> None:
    domain_id_N = np.repeat([0, 1], 12)
    full, none = one_layer([[6, 2]] * 24, domain_id_N), one_layer([[0, 0]] * 24, domain_id_N)
    both = none if empty != "second" else full, none if empty != "first" else full
    loads = load_differences(*both, paired=False)
    lifts = lift_differences(*both, paired=True, domains=("a", "b"))
    for table in (loads, lifts):
        assert table.estimate.isna().all()
        assert table.q.isna().all()
        assert (table.note == NOT_ENOUGH).all()


def test_of_pairs_what_a_text_does_to_both_is_no_noise() -> None:
    """Every text moves one choice in ten; between texts loads differ much more."""
    rng = np.random.default_rng(0)
    own_N = rng.integers(20, 80, 30)
    before = one_layer(np.stack([own_N, 100 - own_N], 1).tolist())
    after = one_layer(np.stack([own_N + rng.integers(4, 7, 30), 100 - own_N], 1).tolist())
    as_pairs, apart = (load_differences(before, after, paired=paired) for paired in (True, False))
    assert as_pairs.q[0] < 0.001
    assert apart.q[0] > 0.05
    assert as_pairs.high[0] - as_pairs.low[0] < 0.2 * (apart.high[0] - apart.low[0])


def test_the_same_sample_twice_does_not_differ() -> None:
    first, _ = two_samples(seed=1)
    for table in (
        load_differences(first, first, paired=True),
        lift_differences(first, first, paired=True, domains=DOMAINS),
    ):
        known = table[table.p.notna()]
        assert (known.estimate.abs() < 1e-12).all()
        assert (known.p == 1).all()
        assert set(known.note) == {ALIKE}


def test_an_expert_of_one_of_the_two_has_a_test_and_no_ratio() -> None:
    before = one_layer([[0, 9, 0], [0, 7, 0]] * 8)
    after = one_layer([[4, 5, 0], [3, 6, 0]] * 8)
    rows = load_differences(before, after, paired=True)
    assert rows.note.tolist()[0] == NEVER[0]
    assert rows.note.tolist()[2] == NEVER[2]
    assert np.isnan(rows.estimate[0])
    assert rows.p[0] < 0.01
    assert np.isnan(rows.p[2])
    swapped = load_differences(after, before, paired=True)
    assert swapped.note.tolist()[0] == NEVER[1]


def test_few_groups_say_nothing() -> None:
    before, after = one_layer([[6, 2]] * 6), one_layer([[2, 6]] * 6)
    rows = load_differences(before, after, paired=True)
    assert set(rows.note) == {NOT_ENOUGH}
    assert rows[["low", "high", "p", "q"]].isna().all(axis=None)
    assert rows.estimate[0] == pytest.approx(np.log2(1 / 3))


def test_one_group_alone_makes_no_difference_sure() -> None:
    """However many choices it has."""
    others = [[50, 50]] * 20
    before, after = one_layer([*others, [50, 50]]), one_layer([*others, [1, 99]])
    assert (load_differences(before, after, paired=True).p > 0.2).all()


def test_the_order_of_the_two_is_the_sign() -> None:
    first, second = two_samples(seed=2)
    one = load_differences(first, second, paired=False)
    other = load_differences(second, first, paired=False)
    np.testing.assert_allclose(one.estimate, -other.estimate)
    np.testing.assert_allclose(one.p, other.p)
    np.testing.assert_allclose(one.low, -other.high)


def test_the_order_of_the_groups_of_a_pair_does_not_matter() -> None:
    first, second = pair_of_samples(seed=3)
    order_N = np.random.default_rng(0).permutation(len(first.domain_id_N))
    moved = [
        Sample(of.tokens_NLE[order_N], of.domain_id_N[order_N], of.experts_L)
        for of in (first, second)
    ]
    one = load_differences(first, second, paired=True)
    other = load_differences(moved[0], moved[1], paired=True)
    np.testing.assert_allclose(one[["low", "high", "p"]], other[["low", "high", "p"]])


def test_the_difference_of_lifts_is_that_of_their_logarithms() -> None:
    domain_id_N = np.repeat([0, 1], 12)
    before = one_layer([[5, 5]] * 24, domain_id_N)
    after = one_layer([[8, 2]] * 12 + [[2, 8]] * 12, domain_id_N)
    rows = lift_differences(before, after, paired=True, domains=("a", "b"))
    of = rows.set_index(["expert_id", "domain"])
    assert of.loc[(0, "a"), "first"] == pytest.approx(0, abs=0.02)
    assert of.loc[(0, "a"), "second"] == pytest.approx(np.log2(1.6), abs=0.02)
    assert of.loc[(0, "b"), "second"] == pytest.approx(np.log2(0.4), abs=0.02)


def test_a_changed_preference_is_found_and_others_are_not() -> None:
    """Whoever prefers nothing keeps preferring nothing; expert 0 takes to the first domain."""
    first, _ = two_samples(seed=4)
    tokens_NLE = first.tokens_NLE.copy()
    of_domain = first.domain_id_N == 0
    tokens_NLE[of_domain, :, 0] += tokens_NLE[of_domain].sum(-1) // 3
    second = Sample(tokens_NLE, first.domain_id_N, first.experts_L)
    rows = lift_differences(first, second, paired=True, domains=DOMAINS)
    own = rows[(rows.expert_id == 0) & (rows.domain == DOMAINS[0])]
    assert (own.q < 0.02).all()
    assert (own.estimate > 0).all()


def test_a_domain_of_few_groups_is_not_tested() -> None:
    domain_id_N = np.array([0] * 20 + [1] * 4)
    before, after = one_layer([[5, 5]] * 24, domain_id_N), one_layer([[4, 6]] * 24, domain_id_N)
    rows = lift_differences(before, after, paired=True, domains=("a", "b"))
    assert set(rows[rows.domain == "b"].note) == {NOT_ENOUGH}
    assert rows[rows.domain == "b"].p.isna().all()
    assert rows[rows.domain == "a"].p.notna().all()


def test_the_difference_of_ratios() -> None:
    first = amounts([10, 20, 30] * 5, [10, 10, 10] * 5)
    second = amounts([12, 24, 33] * 5, [10, 10, 10] * 5)
    row = ratio_differences(first, second, paired=True).iloc[0]
    assert (row["first"], row["second"]) == (2.0, pytest.approx(2.3))
    assert row.estimate == pytest.approx(0.3)
    assert 0 < row.low < row.high
    assert ratio_differences(first, second, paired=False).iloc[0].low < 0


def test_groups_that_all_change_alike_have_no_spread() -> None:
    first, second = amounts([10] * 12, [5] * 12), amounts([15] * 12, [5] * 12)
    row = ratio_differences(first, second, paired=True).iloc[0]
    assert row.note == ALIKE
    assert np.isnan(row.low)
    assert row.estimate == 1.0


@pytest.mark.parametrize("paired", [False, True])
def test_without_a_difference_few_p_are_small(paired: bool) -> None:
    """Groups of different lengths, whose loads differ far more than chance: 40 samples of two
    layers of 16 experts."""
    loads: list[pd.Series] = []
    lifts: list[pd.Series] = []
    sure = 0
    for seed in range(40):
        first, second = (pair_of_samples if paired else two_samples)(seed=seed)
        for of, found in (
            (loads, load_differences(first, second, paired=paired)),
            (lifts, lift_differences(first, second, paired=paired, domains=DOMAINS)),
        ):
            of.append(found.p.dropna())
            sure += bool((found.q < 0.05).any())
    assert np.mean(np.concatenate(loads) < 0.05) <= 0.065
    assert np.mean(np.concatenate(lifts) < 0.05) <= 0.05
    assert sure <= 0.05 * 80


def test_intervals_hold_what_they_should() -> None:
    """The true share of every expert of a domain is the same in both samples, so log2 is 0."""
    held, number = 0, 0
    for seed in range(30):
        first, second = two_samples(seed=100 + seed, overdispersion=0.3)
        rows = load_differences(first, second, paired=False).dropna(subset=["low"])
        held += int(((rows.low <= 0) & (rows.high >= 0)).sum())
        number += len(rows)
    assert 0.93 <= held / number <= 0.98


@pytest.mark.parametrize("paired", [False, True])
def test_a_domain_of_one_group_leaves_the_others_known(paired: bool) -> None:
    first, second = (pair_of_samples if paired else two_samples)(seed=5)
    alone = [
        Sample(
            np.concatenate([of.tokens_NLE, of.tokens_NLE[:1]]),
            np.append(of.domain_id_N, 3),
            of.experts_L,
        )
        for of in (first, second)
    ]
    before = load_differences(first, second, paired=paired)
    after = load_differences(alone[0], alone[1], paired=paired)
    assert after.p.notna().sum() == before.p.notna().sum()
    widths = (after.high - after.low) / (before.high - before.low)
    assert 0.8 < widths.median() < 1.5
    lifts = lift_differences(alone[0], alone[1], paired=paired, domains=(*DOMAINS, "lone"))
    plain = lift_differences(first, second, paired=paired, domains=DOMAINS)
    assert lifts[lifts.domain != "lone"].p.notna().sum() == plain.p.notna().sum() > 0
    assert lifts[lifts.domain == "lone"].p.isna().all()
