"""Is an expert's preference for a domain more than the luck of which texts were read?

N = groups, L = MoE layers, E = routed experts, G = domains, P = permutations. Labels are permuted
over whole groups, so the tokens of a group may resemble one another as they like. Where domains
spread unlike, labels are no longer exchangeable; a t-test with the spread of each domain answers.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import special

from analysis.domain_sums import Groups
from analysis.groups import MIN_EFFECTIVE
from analysis.influence import Spread, largest_multiple, log_lift, spread_of, tested_errors
from analysis.layers import in_threads

PERMUTATIONS = 1000
LARGE_PART = 0.25  # of the rest: one domain that may have missed groups moves the lift of another
MOST_VALUES, CACHED_VALUES = 4_000_000, 30_000  # of permutations, at once
COUNTED_TAIL = 0.02  # a smaller p is read from a tail fitted to the permutations


def permuted_labels(
    domain_id_N: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> np.ndarray:
    """The labels as they are, then permuted [1 + P, N] (int32)."""
    copies_PN = np.tile(domain_id_N.astype(np.int32), (permutations + 1, 1))
    rng = np.random.default_rng(seed)
    rng.permuted(copies_PN[1:], axis=1, out=copies_PN[1:])
    return copies_PN


def members(labels_PN: np.ndarray, *, num_domains: int) -> np.ndarray:
    """Which groups have which label in which permutation [N, G P], float32."""
    member_NGP = labels_PN.T[:, None] == np.arange(num_domains)[:, None]
    return member_NGP.reshape(labels_PN.shape[1], -1).astype(np.float32)


def permuted_loads(tokens_NE: np.ndarray, member_NC: np.ndarray, *, num_domains: int) -> np.ndarray:
    """tokens_EGP of one layer by members()."""
    tokens_EC = tokens_NE.astype(np.float32).T @ member_NC
    return tokens_EC.reshape(tokens_NE.shape[1], num_domains, -1)


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

    def of_layer(layer_id: int) -> np.ndarray:
        return layer_p(tokens_NLE[:, layer_id], labels_PN, num_domains, min_effective)[0]

    return np.stack(in_threads(of_layer, tokens_NLE.shape[1]))


def layer_p(
    tokens_NE: np.ndarray, labels_PN: np.ndarray, num_domains: int, min_effective: float
) -> tuple[np.ndarray, Spread]:
    """preference_p() of one layer [E, G], and how far its groups differ."""
    domain_id_N = labels_PN[0]
    groups = Groups.of(tokens_NE, domain_id_N, num_domains=num_domains)
    welch_EG, of = _welch_p(groups)
    rest_G = len(domain_id_N) - of.groups_G
    freedom_G = np.minimum(of.groups_G, rest_G) - 1
    effective_G = np.minimum(of.effective_G, of.rest_effective_G)
    tested = np.flatnonzero((effective_G >= min_effective) & (freedom_G > 0))
    p_EG = np.full((tokens_NE.shape[1], num_domains), np.nan)
    if not tested.size:
        return p_EG, of
    shown_EG = _permutation_p(tokens_NE, labels_PN, tested, freedom_G[tested])
    for domain_id, p_E in zip(tested, shown_EG.T, strict=True):
        apart_E = np.isnan(p_E)
        if apart_E.any():
            apart_E[apart_E] = _apart(tokens_NE, domain_id_N == domain_id, apart_E)
            p_E[apart_E] = 1 / special.binom(len(domain_id_N), of.groups_G[domain_id])
        larger_E = np.maximum(p_E, welch_EG[:, domain_id])
        p_EG[:, domain_id] = np.where(apart_E, p_E, larger_E)
    present = np.flatnonzero(of.groups_G)
    if len(present) == 2:  # more often in one is less often in the other: one hypothesis
        p_EG[:, present] = p_EG[:, present].max(-1, keepdims=True)
    return p_EG, of


def _welch_p(groups: Groups) -> tuple[np.ndarray, Spread]:
    """Of the log lift [E, G]; 0 where no group differs from the others of its domain.

    A domain that chooses an expert rarely may only have missed the groups that choose it most,
    which its own groups cannot show: its lift is tested with one group more, and so are the lifts
    of domains to whose rest it is a LARGE_PART.
    """
    tokens_E = groups.tokens_NE.sum(0)
    share_E = tokens_E / max(tokens_E.sum(), 1)
    times_GE = largest_multiple(groups.peaks_without_each(), share_E)
    sums, sums_with_missed = groups.sums_with_missed(share_E * times_GE)
    of, present = spread_of(sums), np.flatnonzero(sums.groups_G)
    lift_EG = log_lift(of.tokens_EG)
    p_EG = np.ones(lift_EG.shape)
    p_EG[:, present] = _t_p(np.abs(lift_EG[:, present]), *tested_errors(of, present))
    for domain_id in present.tolist() if len(present) > 1 else ():
        below_E = of.own_share_EG[:, domain_id] < of.domain_share_G[domain_id]
        if not below_E.any():
            continue
        more = spread_of(sums.with_domain(domain_id, sums_with_missed))
        large_G = of.domain_share_G[domain_id] >= LARGE_PART * (1 - of.domain_share_G)
        columns = np.append(np.flatnonzero(large_G & (of.groups_G > 0)), domain_id)
        more_EK = log_lift(more.tokens_EG)[:, columns]
        error_EK, freedom_EK = tested_errors(more, columns)
        above_EK = below_E[:, None] & (lift_EG[:, columns[:-1]] > 0)
        by_size_K = np.minimum(of.size_freedom_G[columns[:-1]], of.size_freedom_G[domain_id])
        less_EK = _t_p(np.maximum(more_EK[:, :-1], 0), error_EK[:, :-1], by_size_K)
        larger_EK = np.maximum(p_EG[:, columns[:-1]], less_EK)
        p_EG[:, columns[:-1]] = np.where(above_EK, larger_EK, p_EG[:, columns[:-1]])
        missed_E = _t_p(np.maximum(-more_EK[:, -1], 0), error_EK[:, -1], freedom_EK[:, -1])
        never_E = 2 * (1 - 1 / times_GE[domain_id]) ** of.effective_G[domain_id]
        missed_E = np.where(of.tokens_EG[:, domain_id] > 0, missed_E, never_E.clip(max=1))
        p_EG[below_E, domain_id] = np.maximum(p_EG[:, domain_id], missed_E)[below_E]
    return p_EG, of


def _t_p(away: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Two-sided; 1 where nothing is away from 0, 0 where something is and has no error."""
    certain = np.where(away > 0, np.inf, 0.0)
    return 2 * special.stdtr(freedom, -np.divide(away, error, out=certain, where=~(error == 0)))


def _apart(tokens_NE: np.ndarray, own_N: np.ndarray, some_E: np.ndarray) -> np.ndarray:
    """Of some experts, whether every group of the domain gives the expert one share of its choices,
    and every other group another one: of all labels, only the observed ones tell them apart so."""
    share_NE = tokens_NE[:, some_E] / np.maximum(tokens_NE.sum(-1, keepdims=True), 1)
    own_E, rest_E = share_NE[own_N].mean(0), share_NE[~own_N].mean(0)
    return np.abs(own_E - rest_E) > 1e-6


def studentized_excess(
    tokens_NE: np.ndarray, labels_PN: np.ndarray, *, num_domains: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Choices beyond what the expert's load expects in the domain, over their standard error, by
    and by: which experts, and theirs [P, G, E], float32. Where groups do not differ it is NaN by
    the first labels and 0 by others.

    Domain and rest are two samples of groups; the variance is the ratio estimator's in every
    domain, with n / (n - 1), computed again for every permutation.
    """
    from analysis.permuted_sums import add_sums  # compiles

    load_N, groups_G = tokens_NE.sum(-1), np.bincount(labels_PN[0], minlength=num_domains)
    total = max(float(load_N.sum()), 1.0)
    residual_NE = tokens_NE - np.outer(load_N, tokens_NE.sum(0) / total)
    noise_E = 1e-6 * np.einsum("ne,ne->e", residual_NE, residual_NE) + 1e-6  # of float32
    residual_NE = np.concatenate([residual_NE, np.zeros_like(residual_NE[:1])], dtype=np.float32)
    start_G1 = np.append(0, groups_G.cumsum()).astype(np.int32)
    of_N = np.append(load_N, 0).astype(np.float32)
    per_group_G = (groups_G / np.maximum(groups_G - 1, 1)).astype(np.float32)[:, None]
    width = min(128, max(16, MOST_VALUES // labels_PN.shape[0] // num_domains // 16 * 16))
    for first in range(0, tokens_NE.shape[1], width):
        of = slice(first, first + width)
        value_NE = np.ascontiguousarray(residual_NE[:, of])
        excess_PGE = np.empty((len(labels_PN), num_domains, value_NE.shape[1]), np.float32)
        together = max(8, CACHED_VALUES // excess_PGE[0].size)
        for p in range(0, len(labels_PN), together):
            some = slice(p, p + together)
            excess = excess_PGE[some]
            sums_PGSE = np.zeros((*excess.shape[:2], 3, excess.shape[2]), np.float32)
            sizes_PG2 = np.zeros((*excess.shape[:2], 2), np.float32)
            add_sums(value_NE, of_N, labels_PN[some], start_G1, sums_PGSE, sizes_PG2)
            load, square = np.moveaxis(sizes_PG2, -1, 0)[..., None]
            own, cross, spread = np.moveaxis(sums_PGSE, 2, 0)
            slope = own / np.maximum(load, 1)
            cross *= -2
            slope_square = slope * square
            cross += slope_square
            cross *= slope
            spread += cross
            np.maximum(spread, 0, out=spread)
            spread *= per_group_G
            share = load / np.float32(total)
            variance = (1 - 2 * share) * spread
            variance += share**2 * spread.sum(1, keepdims=True)
            unlike = variance > noise_E[of]
            np.maximum(variance, 1e-6, out=variance)
            np.sqrt(variance, out=variance)
            np.divide(own, variance, out=excess)
            np.copyto(excess, 0, where=~unlike)
            if p == 0:
                np.copyto(excess[0], np.nan, where=~unlike[0])
        yield of, excess_PGE


def false_discovery_rate(p: np.ndarray) -> np.ndarray:
    """q of Benjamini and Hochberg (1995) over every p that is not NaN, in the shape given."""
    q = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        order = np.argsort(p[tested])[::-1]  # from the largest
        count = len(order)
        ranked = p[tested][order] * (count / np.arange(count, 0, -1))
        lowest = np.empty(count)
        lowest[order] = np.minimum.accumulate(ranked).clip(max=1)
        q[tested] = lowest
    return q


def adjusted(p: pd.Series) -> pd.Series:
    """q of Benjamini and Hochberg over those that have a p."""
    return pd.Series(false_discovery_rate(p.to_numpy(float, na_value=np.nan)), index=p.index)


def _permutation_p(
    tokens_NE: np.ndarray, labels_PN: np.ndarray, tested: np.ndarray, freedom_K: np.ndarray
) -> np.ndarray:
    """Two-sided, of the tested domains [E, K]."""
    p_EK = np.empty((tokens_NE.shape[1], len(tested)))
    num_domains = int(labels_PN[0].max()) + 1
    for of, excess_PGE in studentized_excess(tokens_NE, labels_PN, num_domains=num_domains):
        if len(tested) < num_domains:
            excess_PGE = excess_PGE[:, tested]
        freedom_C = np.repeat(freedom_K, excess_PGE.shape[2])
        p_C = two_sided_p(excess_PGE.reshape(len(labels_PN), -1), freedom_C)
        p_EK[of] = p_C.reshape(len(tested), -1).T
    return p_EK


def two_sided_p(excess_PC: np.ndarray, freedom_C: np.ndarray) -> np.ndarray:
    """The first row is the observed one. Twice the smaller tail; NaN stays.

    A tail is P(permuted >= observed): counted where at least COUNTED_TAIL of them exceed it, else
    Student's, scaled to meet the permutations there.
    """
    observed_C, permuted_PC = excess_PC[0], excess_PC[1:]
    permutations = len(permuted_PC)
    last = max(1, round(COUNTED_TAIL * permutations))
    level, smaller_C = (last + 1) / (permutations + 1), np.ones(len(observed_C))
    for beyond, place in ((np.greater_equal, permutations - last), (np.less_equal, last - 1)):
        exceeding_C = _counts(beyond, permuted_PC, observed_C)
        tail_C = (exceeding_C + 1) / (permutations + 1)
        rare = np.flatnonzero((exceeding_C < last) & ~np.isnan(observed_C))
        rare_CP = np.ascontiguousarray(permuted_PC[:, rare].T)
        rare_CP.partition(place, -1)
        sign = 1 if beyond is np.greater_equal else -1
        scale_C = -sign * rare_CP[:, place] / special.stdtrit(freedom_C[rare], level)
        away_C = sign * observed_C[rare] / np.maximum(scale_C, 1e-3)
        tail_C[rare] = special.stdtr(freedom_C[rare], -away_C)
        smaller_C = np.minimum(smaller_C, tail_C)
    return np.where(np.isnan(observed_C), np.nan, np.minimum(1, 2 * smaller_C))


def _counts(beyond: np.ufunc, permuted_PC: np.ndarray, observed_C: np.ndarray) -> np.ndarray:
    """Of the rows in which it is so; bytes add up fastest, and hold 255."""
    count_C = np.zeros(len(observed_C), int)
    for first in range(0, len(permuted_PC), 128):
        is_beyond = beyond(permuted_PC[first : first + 128], observed_C)
        count_C += np.add.reduce(is_beyond.view(np.uint8), axis=0, dtype=np.uint8)
    return count_C
