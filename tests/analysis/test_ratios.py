"""Sums over sums, by hand."""

import numpy as np
import pytest

from analysis.ratios import ratio_interval, resampled_ratio


def test_amounts_and_sizes_are_summed_before_they_are_divided() -> None:
    weights_RN = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])
    amount_N, size_N = np.array([6.0, 1.0, 99.0]), np.array([2, 5, 1])
    first_two = np.array([True, True, False])
    found_R = resampled_ratio(weights_RN, amount_N, size_N, first_two)
    assert found_R.tolist() == [7 / 7, 12 / 4]


def test_nothing_drawn_is_no_ratio() -> None:
    found_R = resampled_ratio(np.zeros((1, 2)), np.ones(2), np.ones(2), np.ones(2, bool))
    assert np.isnan(found_R).all()


def test_an_interval_surrounds_the_estimate_and_few_documents_have_none() -> None:
    values_R = np.array([2.0, *np.linspace(1, 3, 999)])
    found = ratio_interval(values_R, 100)
    assert found["estimate"] == 2
    assert found["low"] == pytest.approx(1.05, abs=0.02)  # 2.5 % of the way from 1 to 3
    assert found["high"] == pytest.approx(2.95, abs=0.02)
    assert np.isnan(ratio_interval(values_R, 4)["low"])
