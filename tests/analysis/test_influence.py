"""Closed forms against leaving groups out, and against simulated spread."""

import numpy as np
import pytest

from analysis import influence
from analysis.domain_sums import Groups
from analysis.influence import spread
from analysis.ratios import ratio


def overdispersed(groups: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """tokens_NE of three experts and domain_id_N: two domains of unlike shares and lengths."""
    rng = np.random.default_rng(seed)
    domain_id_N = np.arange(groups) % 2
    share_NE = np.array([rng.dirichlet([[20, 10, 5], [10, 10, 10]][of]) for of in domain_id_N])
    length_N = rng.poisson(np.array([100, 160])[domain_id_N] * rng.gamma(9, 1 / 9, groups))
    return rng.multinomial(length_N, share_NE), domain_id_N


def jackknife_error(without_N: np.ndarray, domain_id_N: np.ndarray) -> np.ndarray:
    """Of figures with each group left out, groups a sample within their domain."""
    variance = 0.0
    for domain_id in np.unique(domain_id_N):
        of_N = domain_id_N == domain_id
        variance = variance + (of_N.sum() - 1) * without_N[of_N].var(0)
    return np.sqrt(variance)


def without_each(tokens_NE: np.ndarray, domain_id_N: np.ndarray) -> np.ndarray:
    """tokens_NEG, each group left out."""
    own_NEG = tokens_NE[:, :, None] * np.eye(domain_id_N.max() + 1)[domain_id_N][:, None]
    return own_NEG.sum(0) - own_NEG


def test_log_lift_adds_half_a_choice_to_both_counts() -> None:
    # 40 choices, 20 a domain; each expert has 20, so 10 are expected everywhere
    lift_EG = influence.log_lift(np.array([[15, 5], [5, 15]]))
    assert lift_EG[0].tolist() == pytest.approx(np.log2([15.5 / 10.5, 5.5 / 10.5]).tolist())


def test_a_lift_of_zero_has_a_logarithm_and_a_dead_expert_has_none() -> None:
    lift_EG = influence.log_lift(np.array([[8, 0], [4, 4], [0, 0]]))
    assert np.isfinite(lift_EG[:2]).all()
    assert np.isnan(lift_EG[2]).all()


def test_the_error_of_a_lift_is_that_of_leaving_groups_out() -> None:
    tokens_NE, domain_id_N = overdispersed(300)
    error_EG, freedom_EG = influence.lift_errors(spread(tokens_NE, domain_id_N, num_domains=2))
    without_NEG = influence.log_lift(without_each(tokens_NE, domain_id_N))
    assert error_EG == pytest.approx(jackknife_error(without_NEG, domain_id_N), rel=0.05)
    assert (freedom_EG > 60).all()


def test_the_error_of_a_load_is_that_of_leaving_groups_out() -> None:
    tokens_NE, domain_id_N = overdispersed(300)
    error_E, freedom_E = influence.load_errors(spread(tokens_NE, domain_id_N, num_domains=2))
    load_NE = without_each(tokens_NE, domain_id_N).sum(-1)
    without_NE = np.log2(load_NE / load_NE.mean(-1, keepdims=True))
    assert error_E == pytest.approx(jackknife_error(without_NE, domain_id_N), rel=0.05)
    assert (freedom_E > 60).all()


def test_the_error_of_a_lift_is_what_other_groups_change() -> None:
    """Unlike the jackknife, known: 500 samples of 12 groups a domain."""
    samples = [overdispersed(24, seed=seed) for seed in range(500)]
    lifts_AEG = np.array([influence.log_lift(of.T @ np.eye(2)[ids]) for of, ids in samples])
    variance_AEG = [
        influence.lift_errors(spread(of, ids, num_domains=2))[0] ** 2 for of, ids in samples
    ]
    assert np.sqrt(np.mean(variance_AEG, 0)) == pytest.approx(lifts_AEG.std(0), rel=0.1)


def test_shares_of_a_domain_and_of_an_expert_are_counted() -> None:
    tokens_NE = np.array([[30, 10], [10, 10], [20, 0]])
    of = spread(tokens_NE, np.array([0, 0, 1]), num_domains=3)
    assert of.domain_share_G.tolist() == [0.75, 0.25, 0]
    assert of.own_share_EG.tolist() == [[40 / 60, 20 / 60, 0], [1, 0, 0]]
    assert of.effective_G.tolist() == pytest.approx([60**2 / (40**2 + 20**2), 1, 0])


def test_a_single_group_is_as_far_from_the_truth_as_one_of_the_others() -> None:
    tokens_NE, domain_id_N = overdispersed(80)
    tokens_NE = np.concatenate([tokens_NE, [[40, 30, 30]]])
    of = spread(tokens_NE, np.append(domain_id_N, 2), num_domains=3)
    of_one_EG = of.variance_EG[:, :2] * of.effective_G[:2]
    assert of.variance_EG[:, 2].tolist() == pytest.approx(of_one_EG.mean(-1).tolist())
    error_EG, freedom_EG = influence.lift_errors(of)
    assert np.isfinite(error_EG).all()
    assert (error_EG[:, 2] > 3 * error_EG[:, 0]).all()
    assert (freedom_EG >= 1).all()


def test_an_expert_never_chosen_in_a_domain_spreads_there_as_the_others_do() -> None:
    tokens_NE, domain_id_N = overdispersed(80)
    tokens_NE[:, 0] //= 30
    tokens_NE[domain_id_N == 1, 0] = 0
    of = spread(tokens_NE, domain_id_N, num_domains=2)
    own_NE = tokens_NE[domain_id_N == 1]
    expected = tokens_NE[:, 0].sum() * own_NE.sum() / tokens_NE.sum()
    assert of.variance_EG[0, 1] == pytest.approx(of.dispersion_G[1] / expected)
    assert of.freedom_EG[0, 1] == pytest.approx(expected / of.dispersion_G[1])
    assert of.freedom_EG[0, 1] < 12 < of.freedom_EG[1, 1]
    error_EG, _ = influence.lift_errors(of)
    assert 0 < error_EG[0, 1] < np.inf


def test_for_a_test_the_rest_counts_at_least_by_its_size() -> None:
    """One of two other domains hardly chooses the expert: it counts no less than the other."""
    tokens_NE, _ = overdispersed(60)
    domain_id_N = np.arange(60) // 2 % 3
    tokens_NE[domain_id_N == 1, 0] //= 20
    of = spread(tokens_NE, domain_id_N, num_domains=3)
    error_EG, tested_EG = (
        influence.lift_errors(of, for_test=for_test)[0] for for_test in (False, True)
    )
    assert tested_EG[0, 0] > 1.1 * error_EG[0, 0]
    assert (tested_EG >= error_EG).all()


def test_for_a_test_only_sizes_set_the_freedom_of_a_preference() -> None:
    """One group differs most: the error is large, the freedom not small."""
    tokens_NE, domain_id_N = overdispersed(40)
    tokens_NE[0] = tokens_NE[0].sum() * np.array([0, 0, 1])
    of = spread(tokens_NE, domain_id_N, num_domains=2)
    own_NE = tokens_NE[domain_id_N == 0]
    assert of.size_freedom_G[0] == pytest.approx(ratio(own_NE, own_NE.sum(-1)).size_freedom)
    (_, freedom_EG), (_, tested_EG) = (
        influence.lift_errors(of, for_test=for_test) for for_test in (False, True)
    )
    above_EG = of.own_share_EG > of.domain_share_G
    assert above_EG[0, 0]
    assert (tested_EG >= freedom_EG - 1e-9).all()
    assert tested_EG[0, 0] > 1.2 * freedom_EG[0, 0]


def test_a_group_may_choose_an_expert_as_the_group_of_the_others_that_chooses_it_most() -> None:
    """Groups of 100 choices, 50 in the domain; each expert has half of all."""
    own, others = [[25, 25]] * 2, [[80, 20], [40, 60], [30, 70]]
    tokens_NE = np.array(own + others)
    groups = Groups.of(tokens_NE, np.arange(5) // 2 > 0, num_domains=2)
    times_E = influence.largest_multiple(groups.peaks_without_each(), np.full(2, 0.5))[0]
    # peaks 0.8 and 0.7 of shares 1/2; nine in ten experts 1.4 + 0.9 * 0.2 times their share
    assert times_E.tolist() == pytest.approx([1.6, 1.58])


def test_groups_all_alike_have_no_error() -> None:
    """Thirds that float64 does not hold, in groups of unlike length."""
    tokens_NE = np.repeat(np.arange(30, 70), 3).reshape(40, 3)
    of = spread(tokens_NE, np.arange(40) % 2, num_domains=2)
    assert (influence.lift_errors(of)[0] == 0).all()
    assert (influence.load_errors(of)[0] == 0).all()


def test_null_errors_are_the_spread_of_the_lift_of_a_random_router() -> None:
    rng = np.random.default_rng(0)
    domain_id_N = np.arange(90) % 3
    tokens_ANE = rng.multinomial(100, rng.dirichlet([8, 4, 2], (400, 90)))
    lifts_AEG = np.exp2([influence.log_lift(of.T @ np.eye(3)[domain_id_N]) for of in tokens_ANE])
    errors_AEG = [
        influence.null_errors(spread(of, domain_id_N, num_domains=3)) for of in tokens_ANE
    ]
    assert np.mean(errors_AEG, 0) == pytest.approx(lifts_AEG.std(0), rel=0.12)


def test_texts_that_repeat_the_group_have_its_size_for_a_design_effect() -> None:
    """Ten texts each of twelve groups: 10, times (1 - 1/120) / (1 - 1/12) of the small sample."""
    tokens_NE, _ = overdispersed(12)
    tokens_NE[:, 2] += 400 - tokens_NE.sum(-1)  # equal lengths
    by_group = spread(10 * tokens_NE, np.zeros(12, int), num_domains=1)
    by_document = spread(np.repeat(tokens_NE, 10, axis=0), np.zeros(120, int), num_domains=1)
    effect_G = influence.design_effect([by_group] * 2, [by_document] * 2)
    assert effect_G == pytest.approx(10 * (1 - 1 / 120) / (1 - 1 / 12))


def test_texts_that_are_independent_have_a_design_effect_of_one() -> None:
    tokens_NE, _ = overdispersed(4_000)
    tokens_NE = tokens_NE[::2]  # of one domain
    by_document = spread(tokens_NE, np.zeros(2_000, int), num_domains=1)
    grouped_NE = tokens_NE.reshape(400, 5, 3).sum(1)
    by_group = spread(grouped_NE, np.zeros(400, int), num_domains=1)
    assert influence.design_effect([by_group], [by_document]) == pytest.approx(1, abs=0.15)
    alone = spread(grouped_NE[:1], np.zeros(1, int), num_domains=2)
    documents = spread(tokens_NE[:5], np.zeros(5, int), num_domains=2)
    assert np.isnan(influence.design_effect([alone], [documents])).all()


def test_the_detectable_lift_is_the_sum_of_two_quantiles_of_errors() -> None:
    # 1.96 + 0.84 standard errors of 0.1
    found = influence.detectable_lift(np.array(0.1), np.array(10**6), level=0.05, power=0.8)
    assert 2**found == pytest.approx(1.280, abs=0.001)
