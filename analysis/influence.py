"""How much another sample of groups would change a lift or a load, without resampling.

N = groups, E = routed experts, G = domains. log2 lift of an expert and a domain is log2(observed
choices / choices expected from the expert's load). docs/metrics.md argues every choice made here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.groups import effective_number
from analysis.ratios import ROUNDING, ratio

HALF_CHOICE = 0.5  # added to observed and expected: a lift of 0 has a logarithm


def log_lift(tokens_EG: np.ndarray) -> np.ndarray:
    """log2 lift [..., E, G], half a choice added to both counts (Noren et al. 2013); NaN for dead
    experts and empty domains."""
    tokens_E1 = tokens_EG.sum(-1, keepdims=True)
    tokens_1G = tokens_EG.sum(-2, keepdims=True)
    expected = tokens_E1 * (tokens_1G / np.maximum(tokens_1G.sum(-1, keepdims=True), 1))
    lift = np.log2((tokens_EG + HALF_CHOICE) / (expected + HALF_CHOICE))
    return np.where(expected > 0, lift, np.nan)


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the groups of each domain differ in one layer."""

    domain_share_G: np.ndarray  # of all choices
    own_share_EG: np.ndarray  # of the expert's choices; adds up to 1
    variance_EG: np.ndarray  # of the expert's share of the domain, relative to its square
    freedom_EG: np.ndarray
    size_freedom_G: np.ndarray  # what the sizes of the groups alone allow
    length_variance_G: np.ndarray  # of the domain's choices, relative to their square
    effective_G: np.ndarray  # number of groups
    rest_effective_G: np.ndarray  # of the groups of all other domains
    dispersion_G: np.ndarray  # variance of a sum of choices over the sum, mean over the experts


def spread(tokens_NE: np.ndarray, domain_id_N: np.ndarray, *, num_domains: int) -> Spread:
    """Of one layer. An expert that a domain never chose gets the variance that the domain's other
    experts would have at its expected count: no choice at all says nothing about its spread."""
    tokens_NE = tokens_NE.astype(np.float64)
    load_N = tokens_NE.sum(-1)
    total = max(load_N.sum(), 1.0)
    shape = tokens_NE.shape[1], num_domains
    share_EG, variance_EG, freedom_EG = np.zeros(shape), np.zeros(shape), np.ones(shape)
    length_G, effective_G, rest_effective_G, dispersion_G, load_G = np.zeros((5, num_domains))
    size_freedom_G = np.ones(num_domains)
    for domain_id in np.unique(domain_id_N):
        of_N = domain_id_N == domain_id
        own_NE = tokens_NE[of_N]
        part = ratio(own_NE, load_N[of_N])
        load_G[domain_id], effective_G[domain_id] = part.size, part.effective
        rest_effective_G[domain_id] = effective_number(load_N[~of_N])
        size_freedom_G[domain_id] = part.size_freedom
        length_G[domain_id] = part.size_variance / max(part.size, 1.0) ** 2
        dispersion_G[domain_id] = part.variance_P.sum() * part.size
        tokens_E = own_NE.sum(0)
        expected_E = np.maximum(tokens_NE.sum(0) * part.size / total, HALF_CHOICE)
        unseen_E = dispersion_G[domain_id] / expected_E
        relative_E = part.variance_P * (part.size / np.maximum(tokens_E, HALF_CHOICE)) ** 2
        contributing_E = tokens_E**2 / np.maximum((own_NE**2).sum(0), 1)
        few_E = np.where(tokens_E == 0, 1 / np.maximum(unseen_E, 1e-9), contributing_E - 1)
        below_E = tokens_E < expected_E
        freedom_E = np.where(below_E, np.minimum(part.freedom_P, few_E), part.freedom_P)
        share_EG[:, domain_id] = tokens_E
        variance_EG[:, domain_id] = np.where(tokens_E > 0, relative_E, unseen_E)
        freedom_EG[:, domain_id] = np.maximum(freedom_E, 1)
    alone_G = np.isnan(dispersion_G)  # a single group: as far from the truth as one of others
    if alone_G.any():
        of_one_EG = variance_EG[:, ~alone_G] * effective_G[~alone_G]
        variance_EG[:, alone_G] = of_one_EG.mean(-1, keepdims=True) if (~alone_G).any() else np.nan
        dispersion_G[alone_G] = 0.0
    return Spread(
        domain_share_G=load_G / total,
        own_share_EG=share_EG / np.maximum(share_EG.sum(-1, keepdims=True), 1),
        variance_EG=variance_EG,
        freedom_EG=freedom_EG,
        size_freedom_G=size_freedom_G,
        length_variance_G=length_G,
        effective_G=effective_G,
        rest_effective_G=rest_effective_G,
        dispersion_G=dispersion_G,
    )


def largest_multiple(tokens_NE: np.ndarray, others_N: np.ndarray) -> np.ndarray:
    """How many times more often than all groups do a single group may choose an expert [E]: as
    often as the group of the others that chooses it most, and at least as often as nine in ten
    experts are chosen by theirs."""
    load_N = tokens_NE.sum(-1)
    others_NE, length_N = tokens_NE[others_N], load_N[others_N]
    longer_N1 = np.maximum(length_N, length_N.mean())[:, None]  # the shares of short ones vary most
    share_E = tokens_NE.sum(0) / max(load_N.sum(), 1)
    peak_E = (others_NE / np.maximum(longer_N1, 1)).max(0)
    times_E = np.divide(peak_E, share_E, out=np.ones(len(share_E)), where=share_E > 0)
    least = np.quantile(times_E[share_E > 0], 0.9) if share_E.any() else 1.0
    return np.maximum(times_E, max(least, 1.0))


def with_missed_group(tokens_NE: np.ndarray, own_N: np.ndarray, share_E: np.ndarray) -> np.ndarray:
    """The groups, and one of the average length of `own_N` that gives each expert such a share."""
    added_E = np.minimum(share_E, 1) * tokens_NE[own_N].sum(-1).mean()
    return np.concatenate([tokens_NE, added_E[None]])


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
    share_EG, own_EG = of.own_share_EG, of.variance_EG * (1 - of.own_share_EG) ** 2
    freedom_EG = of.freedom_EG
    if for_test:
        freedom_EG = np.where(share_EG > of.domain_share_G, of.size_freedom_G, freedom_EG)
    rest_EG, weights_EG = np.zeros(own_EG.shape), own_EG**2 / freedom_EG
    for domain_id in range(len(of.domain_share_G)):
        others = np.arange(len(of.domain_share_G)) != domain_id
        part_EG = np.repeat(share_EG[:, [domain_id]], others.sum(), axis=1)
        if for_test:
            rest_G = np.maximum(1 - of.domain_share_G[others], 1e-12)
            by_size_EG = (1 - share_EG[:, others]) * of.domain_share_G[domain_id] / rest_G
            part_EG = np.maximum(part_EG, by_size_EG)
        added_EG = part_EG**2 * of.variance_EG[:, [domain_id]]
        rest_EG[:, others] += added_EG
        weights_EG[:, others] += added_EG**2 / freedom_EG[:, [domain_id]]
    lengths_EG = (share_EG - of.domain_share_G) ** 2 * of.length_variance_G
    variance_EG = own_EG + rest_EG + lengths_EG.sum(-1, keepdims=True)
    weights_EG += _length_weights(of, lengths_EG)[:, None]
    whole_EG = variance_EG**2 / np.maximum(weights_EG, 1e-300)
    return _error(variance_EG), np.maximum(whole_EG, 1)


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


def null_errors(tokens_NE: np.ndarray, of: Spread, domain_id_N: np.ndarray) -> np.ndarray:
    """Standard error of an observed lift where the true one is 1 [E, G].

    An expert's spread comes from the groups of all domains, the few of a small domain cannot tell
    it; how much further than elsewhere a domain's groups spread comes from all its experts.
    """
    load_N = tokens_NE.sum(-1).astype(np.float64)
    total, load_E = max(load_N.sum(), 1.0), tokens_NE.sum(0)
    share_EG = of.own_share_EG * load_E[:, None] / np.maximum(of.domain_share_G * total, 1)
    residual_NE = tokens_NE - load_N[:, None] * share_EG.T[domain_id_N]
    freedom = max(len(tokens_NE) - len(np.unique(domain_id_N)), 1)
    squares_E = (residual_NE**2).sum(0) * len(tokens_NE) / freedom
    per_choice_E = squares_E / np.maximum(load_E, 1)
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
    multiple = stats.t.isf(level / 2, freedom) + stats.t.isf(1 - power, freedom)
    return np.log2(1 + multiple * error)
