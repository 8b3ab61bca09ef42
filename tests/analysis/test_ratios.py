"""Sums over sums: by hand, against groups left out, and against what is known of simulated ones."""

import numpy as np
import pytest
from scipy import stats

from analysis import ratios
from analysis.ratios import ratio, ratio_interval, stratified_ratio

SIZES_N = np.array([1, 1, 2, 3, 5, 8, 8, 9, 12, 15, 20, 40])  # one holds a third


def wholes(size_N: np.ndarray, *, draws: int, seed: int = 0) -> np.ndarray:
    """amount_NP of groups that differ as wholes: size times a number of variance 1 around 3."""
    rng = np.random.default_rng(seed)
    return size_N[:, None] * rng.normal(3, 1, (len(size_N), draws))


def test_amounts_and_sizes_are_summed_before_they_are_divided() -> None:
    of = ratio(np.array([[6.0, 2.0], [1.0, 5.0]]), np.array([2, 5]))
    assert of.estimate_P.tolist() == [1, 1]
    assert (of.size, of.effective) == (7, pytest.approx(49 / 29))


def test_the_variance_of_equal_groups_is_that_of_their_mean_and_its_freedom_n_less_one() -> None:
    amount_N = np.array([1.0, 3.0] * 6)
    of = ratio(amount_N[:, None], np.ones(12))
    assert of.variance_P.tolist() == pytest.approx([amount_N.var(ddof=1) / 12])
    assert of.freedom_P.tolist() == pytest.approx([11], abs=1e-9)
    interval = ratio_interval(amount_N, np.ones(12))
    known = stats.t.interval(0.95, 11, loc=2, scale=stats.sem(amount_N))
    assert (interval["low"], interval["high"]) == pytest.approx(known)


@pytest.mark.parametrize("number", [2, 5, 40, 1000])
def test_the_freedom_that_equal_sizes_allow_is_n_less_one(number: int) -> None:
    assert ratios._size_freedom(np.full(number, 7.0), np.full(number, 1 - 1 / number)) == (
        pytest.approx(number - 1)
    )


def test_the_variance_of_unequal_groups_is_unbiased() -> None:
    of = ratio(wholes(SIZES_N, draws=20_000), SIZES_N)
    truth = (SIZES_N**2).sum() / SIZES_N.sum() ** 2  # of a weighted mean of variances 1
    assert of.estimate_P.var() == pytest.approx(truth, rel=0.03)
    assert of.variance_P.mean() == pytest.approx(truth, rel=0.03)


def test_the_freedom_that_sizes_allow_is_that_of_the_variance() -> None:
    variance_P = ratio(wholes(SIZES_N, draws=40_000), SIZES_N).variance_P
    share_N = SIZES_N / SIZES_N.sum()
    kept_N = 1 - 2 * share_N + (share_N**2).sum()
    known = 2 * variance_P.mean() ** 2 / variance_P.var()
    assert ratios._size_freedom(SIZES_N.astype(float), kept_N) == pytest.approx(known, rel=0.04)
    assert known < 6  # of 11


def test_a_giant_group_leaves_hardly_any_freedom_and_no_interval() -> None:
    size_N = np.array([100.0, *[1.0] * 20])
    amount_N = wholes(size_N, draws=1)[:, 0]
    of = ratio(amount_N[:, None], size_N)
    assert of.effective == pytest.approx(120**2 / 10_020)
    assert of.freedom_P[0] < 1.5
    interval = ratio_interval(amount_N, size_N)
    assert interval["estimate"] == pytest.approx(amount_N.sum() / 120)
    assert np.isnan([interval["low"], interval["high"]]).all()


def test_one_group_that_differs_most_leaves_little_freedom() -> None:
    amount_N = np.tile([1.0, 3.0], 20)
    even = ratio(amount_N[:, None], np.ones(40)).freedom_P[0]
    amount_N[0] = 100.0
    assert even == pytest.approx(39)
    assert ratio(amount_N[:, None], np.ones(40)).freedom_P[0] < 3


def test_a_single_group_and_nothing_have_no_variance() -> None:
    assert np.isnan(ratio(np.array([[3.0]]), np.array([2])).variance_P).all()
    assert np.isnan(ratio(np.zeros((3, 1)), np.zeros(3)).variance_P).all()


@pytest.mark.parametrize("groups", [0, 3])
def test_of_nothing_there_is_no_ratio(groups: int) -> None:
    assert np.isnan(ratio(np.zeros((groups, 2)), np.zeros(groups)).estimate_P).all()


def test_the_stratified_variance_is_that_of_leaving_groups_out() -> None:
    """Domains of unlike rates, each as large a part of the whole as it is."""
    rng = np.random.default_rng(0)
    domain_id_N = np.repeat([0, 1, 2], [150, 100, 200])
    size_N, rate_N = rng.lognormal(3, 0.6, 450), rng.normal(0, 1, 450)
    amount_N = size_N * (np.array([1.0, 2.0, 6.0])[domain_id_N] + rate_N)
    estimate, variance, freedom = stratified_ratio(amount_N, size_N, domain_id_N)
    jackknife = 0.0
    for domain_id in range(3):
        of_N = domain_id_N == domain_id
        amount, size = amount_N[of_N], size_N[of_N]
        without = (amount.sum() - amount) / (size.sum() - size) * size.sum() / size_N.sum()
        jackknife += (of_N.sum() - 1) * without.var()
    assert estimate == pytest.approx(amount_N.sum() / size_N.sum())
    assert variance == pytest.approx(jackknife, rel=0.03)
    assert 100 < freedom < 450


def test_domains_of_equal_groups_add_their_freedom() -> None:
    amount_N, size_N = np.tile([1.0, 3.0], 20), np.ones(40)
    _, variance, freedom = stratified_ratio(amount_N, size_N, np.repeat([0, 1], 20))
    assert variance == pytest.approx(2 * (20 / 19 / 20) / 4)
    assert freedom == pytest.approx(19 + 19)


def test_too_few_groups_leave_the_estimate_alone() -> None:
    amount_N, size_N = np.tile([1.0, 3.0], 12), np.ones(24)
    for groups in (9, 10):  # of one domain
        interval = ratio_interval(amount_N[:groups], size_N[:groups])
        assert np.isnan(interval["low"]) == np.isnan(interval["high"]) == (groups < 10)
    assert not np.isnan(ratio_interval(amount_N, size_N, np.repeat([0, 1], [15, 9]))["low"])
    size_N[0] = 1000.0  # one group decides: less than two degrees of freedom
    interval = ratio_interval(amount_N * size_N, size_N, np.repeat([0, 1], [15, 9]))
    assert interval["estimate"] == pytest.approx((1000 + 47 - 1 + 1) / 1023, abs=0.01)
    assert np.isnan([interval["low"], interval["high"]]).all()


def test_a_domain_without_a_size_does_not_count() -> None:
    amount_N, size_N = np.tile([1.0, 3.0], 12), np.ones(24)
    size_N[20:], amount_N[20:] = 0, 0
    whole = ratio_interval(amount_N, size_N, np.repeat([0, 1], [20, 4]))
    assert whole == ratio_interval(amount_N[:20], size_N[:20])


def test_groups_all_alike_have_no_interval() -> None:
    """Also where float64 cannot hold their ratio, and they differ in size."""
    for size_N in (np.ones(40), np.arange(1.0, 41)):
        interval = ratio_interval(0.1 * size_N, size_N, np.arange(40) % 3)
        assert interval["estimate"] == pytest.approx(0.1)
        assert np.isnan([interval["low"], interval["high"]]).all()


def test_nothing_is_no_ratio() -> None:
    interval = ratio_interval(np.zeros(12), np.zeros(12))
    assert np.isnan([interval["estimate"], interval["low"], interval["high"]]).all()


def test_nineteen_of_twenty_intervals_hold_the_truth_where_lengths_are_log_normal() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(600):
        size_N = rng.lognormal(4, 0.8, 60)
        interval = ratio_interval(size_N * rng.normal(3, 1, 60), size_N)
        if not np.isnan(interval["low"]):
            held.append(interval["low"] < 3 < interval["high"])
    assert len(held) > 570
    assert 0.93 < np.mean(held) < 0.97
