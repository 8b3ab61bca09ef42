"""Documents drawn again within their domain, and the intervals read from them."""

import numpy as np
import pytest

from analysis import bootstrap


def test_every_resample_keeps_the_documents_of_every_domain() -> None:
    domain_id_N = np.array([0, 1, 1, 0, 1])
    weights_RN = bootstrap.bootstrap_weights(domain_id_N, resamples=50)
    assert (weights_RN[:, domain_id_N == 0].sum(-1) == 2).all()
    assert (weights_RN[:, domain_id_N == 1].sum(-1) == 3).all()
    assert weights_RN.max() == 3  # with replacement


def test_loads_are_the_weighted_documents() -> None:
    tokens_NLE = np.array([[[1, 2]], [[10, 20]], [[100, 200]]])
    domain_id_N = np.array([0, 0, 1])
    weights_RN = bootstrap.bootstrap_weights(domain_id_N, resamples=4, seed=3)
    loads_of = bootstrap.resampled_loads(
        tokens_NLE, domain_id_N, num_domains=3, resamples=4, seed=3
    )
    tokens_EGR = loads_of(0)
    assert tokens_EGR[0, 0].tolist() == (weights_RN @ [1, 10, 0]).tolist()
    assert tokens_EGR[1, 1].tolist() == [200] * 4
    assert tokens_EGR[:, 2].tolist() == [[0] * 4] * 2  # a domain without documents


def test_basic_interval_mirrors_the_percentiles() -> None:
    resampled_R = np.arange(1.0, 1000.0)  # the estimate is 300, resampling pushed it to 500
    low, high = bootstrap.basic_interval(resampled_R[None], np.array([300.0]), 1.95996)
    assert (low[0], high[0]) == pytest.approx((600 - 975, 600 - 25), abs=0.01)


def test_the_quantile_widens_for_the_documents_of_small_domains() -> None:
    domain_id_N = np.repeat(np.arange(5), 2)
    unmoved_N = np.zeros(10)
    found = bootstrap.jackknife_quantile(unmoved_N, domain_id_N, error=0.0)
    assert found == pytest.approx(2.571 * np.sqrt(2), abs=1e-3)  # t of 10 - 5; n / (n - 1) = 2


def test_the_quantile_is_as_wide_as_the_jackknife_finds() -> None:
    domain_id_N = np.zeros(100, int)
    without_N = np.tile([-0.1, 0.1], 50)  # its standard error: sqrt(0.99 * 100 * 0.01)
    half = bootstrap.jackknife_quantile(without_N, domain_id_N, error=0.5 * np.sqrt(0.99))
    assert half == pytest.approx(2 * 1.984, abs=1e-3)
    wider = bootstrap.jackknife_quantile(without_N, domain_id_N, error=2.0)
    assert wider == pytest.approx(1.984 * np.sqrt(100 / 99), abs=1e-3)


def test_one_document_that_decides_leaves_little_freedom() -> None:
    without_N = np.zeros(100)
    without_N[0] = 1.0
    even = bootstrap.jackknife_quantile(np.tile([-0.1, 0.1], 50), np.zeros(100, int), error=9.0)
    assert bootstrap.jackknife_quantile(without_N, np.zeros(100, int), error=9.0) > 2 * even
