"""How much another sample of groups would change a lift or a load, without resampling.

N = groups, E = routed experts, G = domains. log2 lift of an expert and a domain is log2(observed
choices / choices expected from the expert's load). docs/metrics.md argues every choice made here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.domain_sums import Groups, Sums
from analysis.ratios import ROUNDING

HALF_CHOICE = 0.5  # added to observed and expected: a lift of 0 has a logarithm


def log_lift(tokens_EG: np.ndarray, size_G: np.ndarray | None = None) -> np.ndarray:
    """log2 lift [..., E, G], half a choice added to both counts (Noren et al. 2013); NaN for dead
    experts and empty domains. size_G: choices of the domains, if of more experts than these."""
    size_G = tokens_EG.sum(-2, keepdims=True) if size_G is None else size_G
    tokens_E1 = tokens_EG.sum(-1, keepdims=True)
    expected = tokens_E1 * (size_G / np.maximum(size_G.sum(-1, keepdims=True), 1))
    lift = np.log2((tokens_EG + HALF_CHOICE) / (expected + HALF_CHOICE))
    return np.where(expected > 0, lift, np.nan)


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the groups of each domain differ in one layer."""

    tokens_EG: np.ndarray
    groups_G: np.ndarray
    domain_share_G: np.ndarray  # of all choices
    own_share_EG: np.ndarray  # of the expert's choices; adds up to 1
    variance_EG: np.ndarray  # of the expert's share of the domain, relative to its square
    freedom_EG: np.ndarray
    size_freedom_G: np.ndarray  # what the sizes of the groups alone allow
    length_variance_G: np.ndarray  # of the domain's choices, relative to their square
    effective_G: np.ndarray  # number of groups
    rest_effective_G: np.ndarray  # of the groups of all other domains
    dispersion_G: np.ndarray  # variance of a sum of choices over the sum, mean over the experts
    residual_E: np.ndarray  # the sum of squares of what groups choose an expert beyond their domain


def spread(tokens_NE: np.ndarray, domain_id_N: np.ndarray, *, num_domains: int) -> Spread:
    """Of one layer."""
    return spread_of(Groups.of(tokens_NE, domain_id_N, num_domains=num_domains).sums())


def spread_of(sums: Sums) -> Spread:
    """Of one layer. An expert that a domain never chose gets the variance that the domain's other
    experts would have at its expected count: no choice at all says nothing about its spread."""
    size_G1, tokens_GE = sums.size_G[:, None], sums.tokens_GE
    total, load_E = max(sums.size_G.sum(), 1.0), tokens_GE.sum(0)
    dispersion_G = sums.variance_GE.sum(-1) * sums.size_G
    expected_GE = np.maximum(load_E * (size_G1 / total), HALF_CHOICE)
    unseen_GE = dispersion_G[:, None] / expected_GE
    relative_GE = sums.variance_GE * (size_G1 / np.maximum(tokens_GE, HALF_CHOICE)) ** 2
    contributing_GE = tokens_GE**2 / np.maximum(sums.square_GE, 1)
    few_GE = np.where(tokens_GE == 0, 1 / np.maximum(unseen_GE, 1e-9), contributing_GE - 1)
    few_GE = np.where(tokens_GE < expected_GE, np.minimum(sums.freedom_GE, few_GE), sums.freedom_GE)
    variance_GE = np.where(tokens_GE > 0, relative_GE, unseen_GE)
    effective_G = _effective(sums.size_G, sums.size_square_G)
    alone_G = np.isnan(dispersion_G)  # a single group: as far from the truth as one of others
    if alone_G.any():
        of_one_GE = variance_GE[~alone_G] * effective_G[~alone_G, None]
        variance_GE[alone_G] = of_one_GE.mean(0) if (~alone_G).any() else np.nan
        dispersion_G[alone_G] = 0.0
    rest_G = sums.size_G.sum() - sums.size_G, sums.size_square_G.sum() - sums.size_square_G
    return Spread(
        tokens_EG=tokens_GE.T,
        groups_G=sums.groups_G,
        domain_share_G=sums.size_G / total,
        own_share_EG=(tokens_GE / np.maximum(load_E, 1)).T,
        variance_EG=variance_GE.T,
        freedom_EG=np.maximum(few_GE, 1).T,
        size_freedom_G=sums.size_freedom_G,
        length_variance_G=sums.size_variance_G / np.maximum(sums.size_G, 1.0) ** 2,
        effective_G=effective_G,
        rest_effective_G=np.where(sums.groups_G > 0, _effective(*rest_G), 0.0),
        dispersion_G=dispersion_G,
        residual_E=sums.residual_GE.sum(0),
    )


def _effective(size_G: np.ndarray, square_G: np.ndarray) -> np.ndarray:
    return np.divide(size_G**2, square_G, out=np.zeros(len(size_G)), where=square_G > 0)


def largest_multiple(peak_E: np.ndarray, share_E: np.ndarray) -> np.ndarray:
    """How many times more often than all groups, who give it the share share_E, may a single group
    choose an expert [..., E]: as often as the group that chooses it most, peak_E, and at least as
    often as nine in ten experts are chosen by theirs."""
    times_E = np.divide(peak_E, share_E, out=np.ones(peak_E.shape), where=share_E > 0)
    if share_E.any():
        least = np.quantile(times_E[..., share_E > 0], 0.9, axis=-1, keepdims=True)
        return np.maximum(times_E, np.maximum(least, 1.0))
    return np.maximum(times_E, 1.0)


def design_effect(by_group: Sequence[Spread], by_document: Sequence[Spread]) -> np.ndarray:
    """How many times as large the variance of the experts' shares of a domain is over groups as it
    seems over documents [G] (Kish 1965); Spreads of every layer. NaN where either is unknown."""
    of_groups, of_documents = (
        np.sum([of.dispersion_G for of in spreads], 0) for spreads in (by_group, by_document)
    )
    return np.divide(
        of_groups,
        of_documents,
        out=np.full(of_groups.shape, np.nan),
        where=(of_documents > 0) & (of_groups > 0),
    )


def lift_errors(of: Spread, *, for_test: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors of log2 lifts, 0 where groups are all alike, and their Satterthwaite freedom
    [E, G].

    ln lift = ln s_g - ln sum_d w_d s_d for the expert's share s of a domain and the domain's weight
    w: the other domains count by their part of the expert's choices. `for_test`, they count at
    least by their size, as without a preference: where few groups happen to choose the expert
    rarely, their spread looks small too. And where a domain chooses the expert more than expected,
    few groups with most of its choices make the error large, not small: only sizes set the freedom.
    """
    if for_test:
        return tested_errors(of, np.arange(len(of.domain_share_G)))
    part_EG = of.own_share_EG**2 * of.variance_EG
    rest_EG, rest_weight_EG = _of_others(part_EG), _of_others(part_EG**2 / of.freedom_EG)
    return _lift_errors(of, slice(None), rest_EG, rest_weight_EG, freedom_EG=of.freedom_EG)


def tested_errors(of: Spread, domain_ids_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """lift_errors() for a test of these domains [E, K]."""
    share_EG, domain_share_G = of.own_share_EG, of.domain_share_G
    freedom_EG = np.where(share_EG > domain_share_G, of.size_freedom_G, of.freedom_EG)
    rest_EK, weight_EK = np.empty((2, len(share_EG), len(domain_ids_K)))
    for place, domain_id in enumerate(domain_ids_K):
        by_size_E = (1 - share_EG[:, domain_id]) / max(1 - domain_share_G[domain_id], 1e-12)
        part_EG = np.maximum(share_EG, np.outer(domain_share_G, by_size_E).T)
        part_EG[:, domain_id] = 0
        part_EG *= part_EG
        part_EG *= of.variance_EG
        rest_EK[:, place] = part_EG.sum(-1)
        part_EG *= part_EG
        part_EG /= freedom_EG
        weight_EK[:, place] = part_EG.sum(-1)
    return _lift_errors(of, domain_ids_K, rest_EK, weight_EK, freedom_EG=freedom_EG)


def _lift_errors(
    of: Spread,
    domain_ids_K: np.ndarray | slice,
    rest_EK: np.ndarray,
    rest_weight_EK: np.ndarray,
    *,
    freedom_EG: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """From what the other domains of each add to the variance, and to the sum of its squares."""
    share_EK = of.own_share_EG[:, domain_ids_K]
    own_EK = of.variance_EG[:, domain_ids_K] * (1 - share_EK) ** 2
    lengths_EG = (of.own_share_EG - of.domain_share_G) ** 2 * of.length_variance_G
    variance_EK = own_EK + rest_EK + lengths_EG.sum(-1, keepdims=True)
    weight_EK = own_EK**2 / freedom_EG[:, domain_ids_K] + rest_weight_EK
    weight_EK += _length_weights(of, lengths_EG)[:, None]
    freedom_EK = variance_EK**2 / np.maximum(weight_EK, 1e-300)
    return _error(variance_EK), np.maximum(freedom_EK, 1)


def _of_others(value_EG: np.ndarray) -> np.ndarray:
    """The sum of all columns but each; a difference would lose what is small beside the own one."""
    before_EG, after_EG = np.zeros(value_EG.shape), np.zeros(value_EG.shape)
    before_EG[:, 1:] = value_EG.cumsum(-1)[:, :-1]
    after_EG[:, :-1] = value_EG[:, ::-1].cumsum(-1)[:, ::-1][:, 1:]
    return before_EG + after_EG


def load_errors(of: Spread) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors of log2(load / mean load), 0 where groups are all alike, and their freedom
    [E]."""
    parts_EG = of.own_share_EG**2 * of.variance_EG
    lengths_EG = (of.own_share_EG - of.domain_share_G) ** 2 * of.length_variance_G
    variance_E = parts_EG.sum(-1) + lengths_EG.sum(-1)
    weights_E = (parts_EG**2 / of.freedom_EG).sum(-1) + _length_weights(of, lengths_EG)
    freedom_E = variance_E**2 / np.maximum(weights_E, 1e-300)
    return _error(variance_E), np.maximum(freedom_E, 1)


def _error(variance: np.ndarray) -> np.ndarray:
    error = np.sqrt(variance)
    return np.where(error < ROUNDING, 0.0, error) / np.log(2)


def _length_weights(of: Spread, lengths_EG: np.ndarray) -> np.ndarray:
    return (lengths_EG**2 / np.maximum(of.effective_G - 1, 1)).sum(-1)


def null_errors(of: Spread) -> np.ndarray:
    """Standard error of an observed lift where the true one is 1 [E, G].

    An expert's spread comes from the groups of all domains, the few of a small domain cannot tell
    it; how much further than elsewhere a domain's groups spread comes from all its experts.
    """
    load_E, number = of.tokens_EG.sum(-1), of.groups_G.sum()
    freedom = max(number - np.count_nonzero(of.groups_G), 1)
    per_choice_E = of.residual_E * number / freedom / np.maximum(load_E, 1)
    known_G = of.dispersion_G > 0
    mean = (of.dispersion_G * of.domain_share_G)[known_G].sum()
    mean /= max(of.domain_share_G[known_G].sum(), 1e-12)
    scale_G = np.where(known_G, of.dispersion_G / max(mean, 1e-12), 1.0)
    expected_EG = np.maximum(load_E[:, None] * of.domain_share_G, HALF_CHOICE)
    variance_EG = per_choice_E[:, None] * scale_G / expected_EG
    rest_EG = (of.domain_share_G**2 * variance_EG).sum(-1, keepdims=True)
    rest_EG = rest_EG - of.domain_share_G**2 * variance_EG
    return np.sqrt((1 - of.domain_share_G) ** 2 * variance_EG + rest_EG)


def detectable_lift(
    error: np.ndarray, freedom: np.ndarray, *, level: float, power: float
) -> np.ndarray:
    """log2 of the smallest lift whose two-sided p is below level in a share power of traces."""
    multiple = special.stdtrit(freedom, 1 - level / 2) + special.stdtrit(freedom, power)
    return np.log2(1 + multiple * error)
