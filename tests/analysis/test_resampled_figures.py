"""The figures of many resamples in one pass against the metrics of each, as they are defined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import load, specialization
from analysis.distinct import distinct_experts, divergence, entropy
from analysis.metric_intervals import DOMAIN_METRICS, LOAD_METRICS
from analysis.resampled_figures import (
    distinct_shares,
    domain_figures,
    load_figures,
    preference_counts,
)
from analysis.specialization import NO_DOMAIN, TOO_FEW, domain_share


@st.composite
def resamples(draw: st.DrawFn) -> np.ndarray:
    """tokens_EGR (float32) with dead experts, empty domains, equal experts and large counts."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    experts, domains, count = (draw(st.integers(least, 12)) for least in (1, 1, 1))
    profile_EG = rng.dirichlet([draw(st.sampled_from([0.1, 1.0, 300.0]))] * domains, experts)
    profile_EG[rng.random(experts) < 0.2] = 0
    profile_EG[:, rng.random(domains) < 0.1] = 0
    profile_EG[: experts // 3] = profile_EG[-1]
    mean = draw(st.sampled_from([20, 3_000, 100_000]))
    tokens_EGR = rng.poisson(mean * profile_EG[..., None], (experts, domains, count))
    tokens_EGR[0, 0] += 1  # no resample without a token
    return tokens_EGR.astype(np.float32)


@settings(deadline=None)
@given(resamples())
def test_every_metric_of_every_resample(tokens_EGR: np.ndarray) -> None:
    tokens_REG = np.moveaxis(tokens_EGR, -1, 0).astype(np.float64)
    found = load_figures(tokens_REG.sum(-1).astype(np.float32))
    found |= domain_figures(lambda of: tokens_EGR[of], tokens_EGR.sum(0), len(tokens_EGR))
    for metric in LOAD_METRICS:
        if metric is not load.dead_experts:
            known_R = metric(tokens_REG.sum(-1))
            assert found[metric.__name__] == pytest.approx(known_R, rel=2e-6, abs=2e-6)
    for metric in DOMAIN_METRICS[:-1]:
        try:
            known_R = metric(tokens_REG)
        except ValueError:
            assert np.isnan(found[metric.__name__]).any()
            continue
        error = 2e-6
        if metric is specialization.information_share:  # over an entropy that may be small
            share_RG = tokens_REG.sum(1) / tokens_REG.sum((1, 2))[:, None]
            error = max(error, 5e-7 / entropy(share_RG).min())
        assert found[metric.__name__] == pytest.approx(known_R, rel=2e-6, abs=error)


@settings(deadline=None)
@given(resamples(), st.sampled_from([0.0, 0.003, 0.02, 0.3, 1.0]))
def test_distinct_experts_are_those_whose_nearest_other_is_far(
    tokens_EGR: np.ndarray, least: float
) -> None:
    living_ER = tokens_EGR.sum(1) > 0
    found_ER = distinct_experts(tokens_EGR, living_ER, least)
    for resample in range(tokens_EGR.shape[-1]):
        share_EG = domain_share(tokens_EGR[..., resample].astype(np.float64))
        between_EE = divergence(share_EG[:, None], share_EG[None])
        np.fill_diagonal(between_EE, np.inf)
        nearest_E = np.nan_to_num(between_EE, nan=np.inf).min(-1)
        clear_E = living_ER[:, resample] & (np.abs(nearest_E - least) > 1e-7)
        assert (found_ER[:, resample] == (nearest_E >= least))[clear_E].all()
        assert not found_ER[~living_ER[:, resample], resample].any()


@settings(deadline=None)
@given(resamples())
def test_counts_are_those_of_expert_domain(tokens_EGR: np.ndarray) -> None:
    counts_RG = preference_counts(tokens_EGR)
    num_domains = tokens_EGR.shape[1]
    for resample, count_G in enumerate(counts_RG):
        tokens_EG = tokens_EGR[..., resample]
        assert count_G.sum() == len(tokens_EG)
        if (tokens_EG.sum(0) > 0).sum() < 2:
            assert count_G[-1] == len(tokens_EG)
            continue
        label_E = specialization.expert_domain(tokens_EG[None])[0]
        known = [(label_E == label).sum() for label in (*range(num_domains), TOO_FEW, NO_DOMAIN)]
        assert count_G.tolist() == known


def test_what_is_refused_is_said_of_the_layer() -> None:
    for refused, words in (
        (lambda: load_figures(np.zeros((2, 3), np.float32)), "layer 0 has no routed tokens"),
        (lambda: distinct_shares(np.ones((3, 2, 4), np.float32)), "no expert with 1000 choices"),
        (lambda: distinct_shares(np.full((3, 1, 4), 5e3, np.float32)), "all routed tokens are of"),
    ):
        with pytest.raises(ValueError, match=words):
            refused()
