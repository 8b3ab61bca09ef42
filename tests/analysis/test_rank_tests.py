"""How an expert stands among its controls."""

import numpy as np
import pytest
from scipy import stats

from analysis.rank_tests import rank_p, standing

CONTROLS_C = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
EXACT_C = np.zeros(5)


def test_the_tail_is_that_of_one_more_of_the_same_kind() -> None:
    of = standing(7.0, 0.0, CONTROLS_C, EXACT_C)
    away = 4 / np.sqrt(2.5 * 1.2)  # mean 3, variance 2.5, and a fifth of it for the mean's error
    assert of.tail == pytest.approx(stats.t.sf(away, 4))
    assert of.above == 0
    assert standing(4.0, 0.0, CONTROLS_C, EXACT_C).above == 2


def test_every_control_stands_among_the_others() -> None:
    of = standing(3.0, 0.0, CONTROLS_C, EXACT_C)
    others_C = CONTROLS_C[:4]
    away = (5 - others_C.mean()) / np.sqrt(others_C.var(ddof=1) * 1.25)
    assert of.control_tail_C[4] == pytest.approx(stats.t.sf(away, 3))
    assert of.control_tail_C[2] == pytest.approx(0.5)


def test_what_is_measured_less_precisely_than_its_controls_stands_out_less() -> None:
    exact = standing(7.0, 1.0, CONTROLS_C, EXACT_C + 1.0)
    noisy = standing(7.0, 5.0, CONTROLS_C, EXACT_C + 1.0)
    away = 4 / np.sqrt(2.5 * 1.2 + 4)
    assert exact.tail == pytest.approx(standing(7.0, 0.0, CONTROLS_C, EXACT_C).tail)
    assert noisy.tail == pytest.approx(stats.t.sf(away, 4))


def test_p_is_the_rank_among_the_controls_of_all_claims() -> None:
    references = [standing(9.0, 0.0, CONTROLS_C, EXACT_C) for _ in range(4)]
    p = rank_p(references, [references[0], None], num_controls=19)
    assert p[0] == pytest.approx(1 / 20)  # none of 19 different ones
    assert np.isnan(p[1])
    middle = standing(3.0, 0.0, CONTROLS_C, EXACT_C)
    assert rank_p(references, [middle], num_controls=19)[0] == pytest.approx((1 + 19 * 3 / 5) / 20)
    assert np.isnan(rank_p([], [None], num_controls=0)).all()


def test_p_is_uniform_where_the_expert_is_one_of_its_controls() -> None:
    rng = np.random.default_rng(0)
    worth_NC = rng.lognormal(size=(400, 21))
    standings = [standing(own[0], 0.0, own[1:], np.zeros(20)) for own in worth_NC]
    p = rank_p(standings, standings, num_controls=8000)
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.025)
    assert (p < 0.005).mean() < 0.015
