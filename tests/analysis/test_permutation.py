"""Labels permuted over groups; excess over its standard error; the false discovery rate."""

import math

import numpy as np
import pytest

from analysis import permutation
from analysis.influence import log_lift


def overdispersed(rng: np.random.Generator, num_documents: int, shares: list[float]) -> np.ndarray:
    """tokens_NE: 200 choices a document, whose shares vary from document to document."""
    share_NE = rng.dirichlet(30 * np.array(shares), num_documents)
    return rng.multinomial(200, share_NE)


def test_labels_are_permuted_over_documents_and_the_real_ones_come_first() -> None:
    labels_PN = permutation.permuted_labels(np.array([0, 0, 1, 2]), permutations=5)
    assert labels_PN[0].tolist() == [0, 0, 1, 2]
    assert np.sort(labels_PN, -1).tolist() == [[0, 0, 1, 2]] * 6


def test_studentized_excess_is_welch_of_two_domains_of_equal_documents() -> None:
    # ten choices a document; expert 0 has 4 and 6 of them in domain 0, 1 and 3 in domain 1
    tokens_NE = np.array([[4, 6], [6, 4], [1, 9], [3, 7]])
    labels_PN = np.array([[0, 0, 1, 1]], np.int32)
    ((_, (excess_GE,)),) = permutation.studentized_excess(tokens_NE, labels_PN, num_domains=2)
    # excess 10 - 7 = 3; within each domain the squares add up to 2, times 2 / 1
    # variance (1/2)^2 4 + (1/2)^2 4 = 2
    assert excess_GE[0, 0] == pytest.approx(3 / np.sqrt(2))
    assert excess_GE[1, 0] == pytest.approx(-3 / np.sqrt(2))


def test_groups_that_are_all_alike_are_not_tested() -> None:
    tokens_NLE = np.full((24, 1, 3), 5)  # k = E: every token chooses every expert
    longer_NLE = tokens_NLE * np.arange(1, 25)[:, None, None]
    for alike_NLE in (tokens_NLE, longer_NLE):
        p_LEG = permutation.preference_p(alike_NLE, np.arange(24) % 2, num_domains=2)
        assert np.isnan(p_LEG).all()


def test_an_expert_of_one_document_prefers_nothing() -> None:
    tokens_NLE = np.full((40, 1, 3), 50)
    tokens_NLE[:, 0, 2] = 0
    tokens_NLE[0, 0, 2] = 500  # chi-square of tokens: far beyond any doubt
    p_LEG = permutation.preference_p(tokens_NLE, np.repeat([0, 1], 20), num_domains=2)
    assert p_LEG[0, 2].min() > 0.05


def test_a_random_router_prefers_at_the_nominal_rate_and_avoids_more_rarely() -> None:
    rng = np.random.default_rng(0)
    shares = [0.5, 0.3, 0.15, 0.05]
    tokens_NLE = np.stack([overdispersed(rng, 60, shares) for _ in range(150)], 1)
    p_LEG = permutation.preference_p(tokens_NLE, np.arange(60) % 3, num_domains=3, permutations=300)
    tokens_LEG = np.einsum("nle,ng->leg", tokens_NLE, np.eye(3)[np.arange(60) % 3])
    above_LEG = np.array([log_lift(tokens_EG) for tokens_EG in tokens_LEG]) > 0
    assert 0.02 <= (p_LEG[above_LEG] < 0.05).mean() <= 0.065  # the others may miss groups too
    assert (p_LEG[~above_LEG] < 0.05).mean() <= 0.05
    assert (p_LEG < 0.001).mean() <= 0.003


def test_long_documents_of_one_domain_are_no_preference() -> None:
    rng = np.random.default_rng(1)
    tokens_NLE = np.stack([overdispersed(rng, 60, [0.7, 0.3]) for _ in range(150)], 1)
    domain_id_N = np.repeat([0, 1], [20, 40])
    tokens_NLE[:20] *= 5
    p_LEG = permutation.preference_p(tokens_NLE, domain_id_N, num_domains=2, permutations=300)
    assert (p_LEG < 0.05).mean() <= 0.08


def test_a_preference_is_found_far_below_one_in_a_thousand() -> None:
    rng = np.random.default_rng(2)
    likes, rest = overdispersed(rng, 30, [0.5, 0.5]), overdispersed(rng, 30, [0.2, 0.8])
    tokens_NLE = np.concatenate([likes, rest])[:, None]
    p_LEG = permutation.preference_p(tokens_NLE, np.repeat([0, 1], 30), num_domains=2)
    assert 0 < p_LEG.max() < 1e-6


def test_false_discovery_rate_of_benjamini_and_hochberg() -> None:
    # p * 4 / rank: 0.04, 0.04, 0.0533, 0.5; what was not tested stays out
    p = np.array([[0.01, np.nan, 0.04], [0.02, 0.5, np.nan]])
    q = permutation.false_discovery_rate(p)
    assert q[0].tolist() == pytest.approx([0.04, np.nan, 4 / 75], nan_ok=True)
    assert q[1].tolist() == pytest.approx([0.04, 0.5, np.nan], nan_ok=True)


def by_permutation_alone(tokens_NE: np.ndarray, domain_id_N: np.ndarray) -> np.ndarray:
    labels_PN = permutation.permuted_labels(domain_id_N)
    groups_G = np.bincount(domain_id_N)
    freedom = np.full(len(groups_G), groups_G.min() - 1)
    return permutation._permutation_p(tokens_NE, labels_PN, np.arange(len(groups_G)), freedom)


def test_a_domain_that_spreads_more_is_no_preference_though_the_permutation_alone_says_so() -> None:
    """One mean for all; five domains of concentration 400 and one of 20, 15 groups each."""
    rng = np.random.default_rng(11)
    domain_id_N = np.repeat(np.arange(6), 15)
    concentration_N = np.where(domain_id_N == 0, 20, 400)
    share_NE = np.array([rng.dirichlet(np.full(32, size / 32)) for size in concentration_N])
    tokens_NE = rng.multinomial(1000, share_NE)
    alone_EG = by_permutation_alone(tokens_NE, domain_id_N)
    assert permutation.false_discovery_rate(alone_EG).min() < 0.0001
    p_EG = permutation.preference_p(tokens_NE[:, None], domain_id_N, num_domains=6)[0]
    assert (p_EG >= alone_EG).all()
    assert permutation.false_discovery_rate(p_EG).min() > 0.5


def test_a_perfect_specialist_has_the_p_of_one_labelling_of_all() -> None:
    """Each of three experts takes all of its domain and nothing else."""
    domain_id_N = np.repeat(np.arange(3), 12)
    tokens_NLE = np.arange(50, 86)[:, None, None] * np.eye(3, dtype=int)[domain_id_N][:, None]
    (p_EG,) = permutation.preference_p(tokens_NLE, domain_id_N, num_domains=3)
    assert np.diag(p_EG).tolist() == pytest.approx([1 / math.comb(36, 12)] * 3)
    assert (permutation.false_discovery_rate(p_EG)[np.eye(3, dtype=bool)] < 1e-8).all()


def test_a_domain_of_few_groups_is_not_tested_and_the_others_are() -> None:
    rng = np.random.default_rng(2)
    tokens_NLE = overdispersed(rng, 36, [0.5, 0.3, 0.2])[:, None]
    nine_N = np.repeat([0, 1, 2], [9, 13, 14])
    (p_EG,) = permutation.preference_p(tokens_NLE, nine_N, num_domains=3)
    assert np.isnan(p_EG).tolist() == [[True, False, False]] * 3
    twelve_N = np.repeat([0, 1, 2], 12)
    assert not np.isnan(permutation.preference_p(tokens_NLE, twelve_N, num_domains=3)).any()
    tokens_NLE[0] *= 20  # counts as (11 + 20)^2 / (11 + 400) = 2.3
    # the others have no one to be compared with: (23 + 20)^2 / (23 + 400) = 4.4
    (p_EG,) = permutation.preference_p(tokens_NLE, twelve_N, num_domains=3)
    assert np.isnan(p_EG).tolist() == [[True, True, True]] * 3
