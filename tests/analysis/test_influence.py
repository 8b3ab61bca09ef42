"""Closed forms against leaving documents out, and against simulated spread."""

import numpy as np
import pytest

from analysis import influence


def test_log_lift_adds_half_a_choice_to_both_counts() -> None:
    # 40 choices, 20 a domain; each expert has 20, so 10 are expected everywhere
    lift_EG = influence.log_lift(np.array([[15, 5], [5, 15]]))
    assert lift_EG[0].tolist() == pytest.approx(np.log2([15.5 / 10.5, 5.5 / 10.5]).tolist())


def test_a_lift_of_zero_has_a_logarithm_and_a_dead_expert_has_none() -> None:
    lift_EG = influence.log_lift(np.array([[8, 0], [4, 4], [0, 0]]))
    assert np.isfinite(lift_EG[:2]).all()
    assert np.isnan(lift_EG[2]).all()


def test_the_variance_is_that_of_leaving_documents_out() -> None:
    rng = np.random.default_rng(0)
    tokens_NE = rng.poisson(rng.gamma(5, 20, (200, 3)))
    member_NG = np.eye(2)[np.arange(200) % 2]
    squares_EG, _ = influence.lift_moments(tokens_NE, member_NG)
    without = [
        influence.log_lift(np.delete(tokens_NE, n, 0).T @ np.delete(member_NG, n, 0))
        for n in range(200)
    ]
    moved_NEG = (np.array(without) - np.mean(without, 0)) * np.log(2)
    assert squares_EG == pytest.approx((moved_NEG**2).sum(0), rel=0.05)


def test_null_error_is_the_spread_of_the_lift_of_a_random_router() -> None:
    rng = np.random.default_rng(0)
    member_NG = np.eye(3)[np.arange(90) % 3]
    share_ANE = rng.dirichlet([8, 4, 2], (400, 90))
    tokens_ANE = rng.multinomial(100, share_ANE)
    lifts_AEG = np.exp2([influence.log_lift(tokens_NE.T @ member_NG) for tokens_NE in tokens_ANE])
    errors_AEG = np.array([influence.null_error(tokens_NE, member_NG) for tokens_NE in tokens_ANE])
    assert errors_AEG.mean(0) == pytest.approx(lifts_AEG.std(0), rel=0.12)


def test_the_detectable_lift_is_the_sum_of_two_quantiles_of_errors() -> None:
    # 1.96 + 0.84 standard errors of 0.1
    found = influence.detectable_lift(np.array(0.1), np.array(10**6), level=0.05, power=0.8)
    assert 2**found == pytest.approx(1.280, abs=0.001)
