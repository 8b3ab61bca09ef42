"""Is an expert's preference for a domain more than the luck of which texts were read?

N = groups, L = MoE layers, E = routed experts, G = domains, P = permutations. Labels are permuted
over whole groups, so the tokens of a group may resemble one another as they like. Where domains
spread unlike, labels are no longer exchangeable; a t-test with the spread of each domain answers.
"""

import numpy as np
import pandas as pd
from scipy import special, stats

from analysis.groups import MIN_EFFECTIVE
from analysis.influence import (
    Spread,
    largest_multiple,
    lift_errors,
    log_lift,
    spread,
    with_missed_group,
)

PERMUTATIONS = 1000
LARGE_PART = 0.25  # of the rest: one domain that may have missed groups moves the lift of another
COUNTED_TAIL = 0.02  # a smaller p is read from a tail fitted to the permutations


def permuted_labels(
    domain_id_N: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> np.ndarray:
    """The labels as they are, then permuted [1 + P, N]."""
    copies_PN = np.tile(domain_id_N, (permutations, 1))
    permuted_PN = np.random.default_rng(seed).permuted(copies_PN, axis=1)
    return np.concatenate([domain_id_N[None], permuted_PN])


def preference_p(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    num_domains: int,
    permutations: int = PERMUTATIONS,
    min_effective: float = MIN_EFFECTIVE,
    seed: int = 0,
) -> np.ndarray:
    """Two-sided p of every expert and domain [L, E, G]: the larger of a permutation test and a
    Welch-Satterthwaite t-test of the log lift.

    NaN where nothing can be tested: below min_effective groups, one domain, groups all alike.
    """
    labels_PN = permuted_labels(domain_id_N, permutations=permutations, seed=seed)
    member_GPN = (labels_PN == np.arange(num_domains)[:, None, None]).astype(np.float32)
    groups_G = np.bincount(domain_id_N, minlength=num_domains)
    rest_G = len(domain_id_N) - groups_G
    freedom_G = np.minimum(groups_G, rest_G) - 1
    p_LEG = np.full((*tokens_NLE.shape[1:], num_domains), np.nan)
    for layer_id, p_EG in enumerate(p_LEG):
        tokens_NE = tokens_NLE[:, layer_id]
        of = spread(tokens_NE, domain_id_N, num_domains=num_domains)
        excess_GPE = studentized_excess(tokens_NE, member_GPN)
        welch_EG = _welch_p(tokens_NE, domain_id_N, of)
        effective_G = np.minimum(of.effective_G, of.rest_effective_G)
        for domain_id in np.flatnonzero((effective_G >= min_effective) & (freedom_G > 0)):
            excess_EP = excess_GPE[domain_id].T.copy()
            p_E = _two_sided_p(excess_EP, freedom_G[domain_id])
            apart_E = np.isnan(p_E) & _apart(tokens_NE, member_GPN[domain_id, 0] > 0)
            p_E[apart_E] = 1 / special.binom(len(domain_id_N), groups_G[domain_id])
            larger_E = np.maximum(p_E, welch_EG[:, domain_id])
            p_EG[:, domain_id] = np.where(apart_E, p_E, larger_E)
        tested = np.flatnonzero(groups_G)
        if len(tested) == 2:  # more often in one is less often in the other: one hypothesis
            p_EG[:, tested] = p_EG[:, tested].max(-1, keepdims=True)
    return p_LEG


def _welch_p(tokens_NE: np.ndarray, domain_id_N: np.ndarray, of: Spread) -> np.ndarray:
    """Of the log lift [E, G]; 0 where no group differs from the others of its domain.

    A domain that chooses an expert rarely may only have missed the groups that choose it most,
    which its own groups cannot show: its lift is tested with one group more, and so are the lifts
    of domains to whose rest it is a LARGE_PART.
    """
    num_domains = len(of.domain_share_G)
    lift_EG = log_lift(tokens_NE.T @ np.eye(num_domains)[domain_id_N])
    error_EG, freedom_EG = lift_errors(of, for_test=True)
    p_EG = _t_p(np.abs(lift_EG), error_EG, freedom_EG)
    for domain_id in np.unique(domain_id_N):
        own_N = domain_id_N == domain_id
        below_E = of.own_share_EG[:, domain_id] < of.domain_share_G[domain_id]
        if own_N.all() or not below_E.any():
            continue
        times_E = largest_multiple(tokens_NE, ~own_N)
        share_E = tokens_NE.sum(0) / max(tokens_NE.sum(), 1)
        more_NE = with_missed_group(tokens_NE, own_N, share_E * times_E)
        more_id_N = np.append(domain_id_N, domain_id)
        more_EG = log_lift(more_NE.T @ np.eye(num_domains)[more_id_N])
        more = spread(more_NE, more_id_N, num_domains=num_domains)
        more_error_EG, more_freedom_EG = lift_errors(more, for_test=True)
        large_G = of.domain_share_G[domain_id] >= LARGE_PART * (1 - of.domain_share_G)
        above_EG = below_E[:, None] & (lift_EG > 0) & large_G
        by_size_G = np.minimum(of.size_freedom_G, of.size_freedom_G[domain_id])
        less_EG = _t_p(np.maximum(more_EG, 0), more_error_EG, by_size_G)
        p_EG = np.where(above_EG, np.maximum(p_EG, less_EG), p_EG)
        missed_EG = _t_p(np.maximum(-more_EG, 0), more_error_EG, more_freedom_EG)
        never_E = (2 * (1 - 1 / times_E) ** of.effective_G[domain_id]).clip(max=1)
        missed_E = np.where(tokens_NE[own_N].any(0), missed_EG[:, domain_id], never_E)
        p_EG[below_E, domain_id] = np.maximum(p_EG[:, domain_id], missed_E)[below_E]
    return p_EG


def _t_p(away: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Two-sided; 1 where nothing is away from 0, 0 where something is and has no error."""
    certain = np.where(away > 0, np.inf, 0.0)
    return 2 * stats.t.sf(np.divide(away, error, out=certain, where=~(error == 0)), freedom)


def _apart(tokens_NE: np.ndarray, own_N: np.ndarray) -> np.ndarray:
    """Whether every group of the domain gives the expert one share of its choices, and every other
    group another one [E]: of all labels, only the observed ones tell them apart so."""
    share_NE = tokens_NE / np.maximum(tokens_NE.sum(-1, keepdims=True), 1)
    own_E, rest_E = share_NE[own_N].mean(0), share_NE[~own_N].mean(0)
    return np.abs(own_E - rest_E) > 1e-6


def studentized_excess(tokens_NE: np.ndarray, member_GPN: np.ndarray) -> np.ndarray:
    """Choices beyond what the expert's load expects in the domain, over their standard error
    [G, P, E]; NaN where groups do not differ.

    Domain and rest are two samples of groups; the variance is the ratio estimator's in every
    domain, with n / (n - 1), computed again for every permutation.
    """
    load_N1 = tokens_NE.sum(-1, keepdims=True).astype(np.float64)
    total = max(load_N1.sum(), 1.0)
    residual_NE = tokens_NE - load_N1 * (tokens_NE.sum(0) / total)
    features = [residual_NE, residual_NE * load_N1, residual_NE**2, load_N1, load_N1**2]
    sums = member_GPN @ np.concatenate(features, 1).astype(np.float32)
    excess, cross, squares = np.split(sums[..., :-2], 3, -1)
    load, load_squares = sums[..., -2:-1], sums[..., -1:]
    slope = excess / np.maximum(load, 1)
    spread = np.maximum(squares - 2 * slope * cross + slope**2 * load_squares, 0)
    groups = member_GPN[:, :1].sum(-1)[..., None]
    spread *= groups / np.maximum(groups - 1, 1)
    share = load / np.float32(total)
    variance = (1 - share) ** 2 * spread + share**2 * (spread.sum(0) - spread)
    noise_E = 1e-6 * (residual_NE**2).sum(0) + 1e-6  # of float32
    return np.where(variance > noise_E, excess / np.sqrt(np.maximum(variance, 1e-6)), np.nan)


def false_discovery_rate(p: np.ndarray) -> np.ndarray:
    """q of Benjamini and Hochberg (1995) over every p that is not NaN, in the shape given."""
    q = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = stats.false_discovery_control(p[tested])
    return q


def adjusted(p: pd.Series) -> pd.Series:
    """q of Benjamini and Hochberg over those that have a p."""
    return pd.Series(false_discovery_rate(p.to_numpy(float, na_value=np.nan)), index=p.index)


def _two_sided_p(excess_EP: np.ndarray, freedom: int) -> np.ndarray:
    """The first column is the observed one. Twice the smaller tail; NaN stays."""
    observed_E = excess_EP[:, 0]
    permuted_EP = np.nan_to_num(excess_EP[:, 1:])
    upper_E = _upper_tail(observed_E, permuted_EP, freedom)
    lower_E = _upper_tail(-observed_E, -permuted_EP, freedom)
    return np.where(np.isnan(observed_E), np.nan, np.minimum(1, 2 * np.minimum(upper_E, lower_E)))


def _upper_tail(observed_E: np.ndarray, permuted_EP: np.ndarray, freedom: int) -> np.ndarray:
    """P(permuted >= observed): counted where at least COUNTED_TAIL of them exceed it, else
    Student's tail, scaled to meet the permutations there."""
    permutations = permuted_EP.shape[1]
    last = max(1, round(COUNTED_TAIL * permutations))
    exceeding_E = (permuted_EP >= observed_E[:, None]).sum(-1)
    edge_E = np.partition(permuted_EP, permutations - last, -1)[:, permutations - last]
    level = (last + 1) / (permutations + 1)
    scale_E = edge_E / stats.t.isf(level, freedom)
    tail_E = stats.t.sf(observed_E / np.maximum(scale_E, 1e-3), freedom)
    return np.where(exceeding_E >= last, (exceeding_E + 1) / (permutations + 1), tail_E)
