"""Which experts are chosen together more or less often than two nulls say.

Uniform: k of E drawn uniformly for every token. Load: every token keeps its k and every expert its
load, and nothing else is preferred; what curveball swaps of the token x expert matrix sample, here
from its maximum-entropy law (analysis/fixed_loads.py). The spread is taken over groups.

T = tokens, N = groups, E = routed experts, P = pairs a < b, V = values of k that occur.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from analysis.excess import MIN_EXPECTED, excess_tests, group_variance
from analysis.fixed_loads import FixedLoads, feasible, fixed_loads
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_number
from analysis.permutation import adjusted

GROUPS_AT_ONCE = 256  # bounds memory
TOO_MANY = "too many experts a token for the null of fixed loads; k of E can be tested"


@dataclass(frozen=True, slots=True)
class _Choices:
    """One layer's choices; group_T ascends from 0, tokens that chose nothing are left out."""

    chosen_TE: np.ndarray
    group_T: np.ndarray
    k_V: np.ndarray
    k_NV: np.ndarray  # tokens of a group that chose k experts
    tokens_V: np.ndarray


def pair_significance(chosen_TE: np.ndarray, group_T: np.ndarray) -> pd.DataFrame:
    """Every pair of one layer against both nulls.

    expert_a, expert_b, tokens; then for "uniform" and "load": expected tokens, lift and the ends of
    its 95 % interval, z, p and q (Benjamini-Hochberg over the layer's pairs); z_swaps, which
    takes tokens for independent; reason, why the load columns are empty.
    """
    choices = _choices(chosen_TE, group_T)
    num_experts = chosen_TE.shape[-1]
    pairs_P = np.triu_indices(num_experts, 1)
    uniform_V = choices.k_V * (choices.k_V - 1) / (num_experts * (num_experts - 1))
    uniform = FixedLoads(
        single_VE=np.zeros((len(choices.k_V), num_experts)),
        pair_VP=np.repeat(uniform_V[:, None], len(pairs_P[0]), axis=1),
        slope_PE=np.zeros((len(pairs_P[0]), num_experts)),
        variance_P=np.full(len(pairs_P[0]), choices.tokens_V @ (uniform_V * (1 - uniform_V))),
    )
    load, reason_P = _load_null(choices)
    effective = effective_number(choices.k_NV.sum(-1))
    table = pd.DataFrame({"expert_a": pairs_P[0], "expert_b": pairs_P[1]})
    table["tokens"], *spreads = _spread(choices, (uniform, load))
    for name, null, spread_P in zip(("uniform", "load"), (uniform, load), spreads, strict=True):
        tests = excess_tests(
            table.tokens.to_numpy(),
            choices.tokens_V @ null.pair_VP,
            spread_P=spread_P,
            least_P=null.variance_P,
            effective=effective,
        )
        table = table.join(tests.add_suffix(f"_{name}"))
    known = reason_P == ""
    swaps_P: pd.Series = (table.tokens - table.expected_load) / np.sqrt(
        np.where(known, load.variance_P, 1)
    )
    table["z_swaps"] = swaps_P.where(known)
    table.loc[~known, ["low_load", "high_load", "z_load", "p_load"]] = np.nan
    table["q_load"] = adjusted(table.p_load)
    few_P = known & table.p_load.isna()
    few = NOT_ENOUGH if effective < MIN_EFFECTIVE else f"fewer than {MIN_EXPECTED} tokens expected"
    return table.assign(reason=np.where(few_P, few, reason_P)).convert_dtypes()


def _choices(chosen_TE: np.ndarray, group_T: np.ndarray) -> _Choices:
    k_T = chosen_TE.sum(-1)
    num_experts = chosen_TE.shape[-1]
    routed_T = k_T > 0
    if not routed_T.any():
        raise ValueError("no routed tokens in this layer; capture a trace with tokens")
    if num_experts < 2 or k_T.max() < 2:
        raise ValueError(
            f"every token chooses one of {num_experts} experts; pairs need two chosen a token"
        )
    if k_T[routed_T].min() == num_experts:
        raise ValueError(
            f"every token chooses all {num_experts} experts: which are chosen together says nothing"
        )
    load_E = chosen_TE.sum(0)
    if np.isin(load_E, (0, routed_T.sum())).all():
        raise ValueError("every token chooses the same experts: there is nothing to compare with")
    group_T = np.unique(group_T[routed_T], return_inverse=True)[1]
    k_V, value_T = np.unique(k_T[routed_T], return_inverse=True)
    k_NV = np.zeros((group_T.max() + 1, len(k_V)), dtype=np.int64)
    np.add.at(k_NV, (group_T, value_T), 1)
    return _Choices(chosen_TE[routed_T], group_T, k_V, k_NV, k_NV.sum(0))


def _load_null(choices: _Choices) -> tuple[FixedLoads, np.ndarray]:
    """The law for all experts, and why it says nothing about a pair ("" where it does).

    Dead experts and those that every token chose are fixed by their load and left out of the fit.
    """
    tokens_E = choices.chosen_TE.sum(0)
    dead_E, always_E = tokens_E == 0, tokens_E == len(choices.chosen_TE)
    free_E = ~(dead_E | always_E)
    a_P, b_P = np.triu_indices(len(tokens_E), 1)
    reason_P = np.where(always_E[a_P] | always_E[b_P], "an expert that every token chose", "")
    reason_P = np.where(dead_E[a_P] | dead_E[b_P], "an expert that was never chosen", reason_P)
    free_k_V = choices.k_V - always_E.sum()
    if not feasible(int(free_E.sum()), int(free_k_V.max())):
        return _unknown(len(choices.k_V), len(tokens_E)), np.full(len(a_P), TOO_MANY)
    law = fixed_loads(tokens_E[free_E], k_V=free_k_V, tokens_V=choices.tokens_V)
    num_values, num_pairs = len(choices.k_V), len(a_P)
    single_VE = np.repeat(always_E[None].astype(float), num_values, axis=0)
    single_VE[:, free_E] = law.single_VE
    pair_VP = single_VE[:, a_P] * single_VE[:, b_P]  # exact where either is dead or always chosen
    free_P = free_E[a_P] & free_E[b_P]
    pair_VP[:, free_P] = law.pair_VP
    slope_PE = np.zeros((num_pairs, len(tokens_E)))
    slope_PE[np.ix_(free_P, free_E)] = law.slope_PE
    variance_P = np.zeros(num_pairs)
    variance_P[free_P] = law.variance_P
    return FixedLoads(single_VE, pair_VP, slope_PE, variance_P), reason_P


def _unknown(num_values: int, num_experts: int) -> FixedLoads:
    num_pairs = num_experts * (num_experts - 1) // 2
    return FixedLoads(
        single_VE=np.zeros((num_values, num_experts)),
        pair_VP=np.full((num_values, num_pairs), np.nan),
        slope_PE=np.zeros((num_pairs, num_experts)),
        variance_P=np.full(num_pairs, np.nan),
    )


def _spread(choices: _Choices, nulls: tuple[FixedLoads, ...]) -> list[np.ndarray]:
    """Tokens of every pair, then for each null the variance of that number over groups.

    A residual is a group's count less its expectation, and less what its loads explain: the
    loads of the null are those of the trace, so they follow the groups.
    """
    num_groups, num_experts = len(choices.k_NV), choices.chosen_TE.shape[-1]
    tokens_N = choices.k_NV.sum(-1)
    a_P, b_P = np.triu_indices(num_experts, 1)
    edges = np.append(0, np.cumsum(tokens_N))
    tokens_P = np.zeros(len(a_P), dtype=np.int64)
    sums = [np.zeros((3, len(a_P))) for _ in nulls]  # of residuals, times length, squared
    for start in range(0, num_groups, GROUPS_AT_ONCE):
        chunk = slice(start, start + GROUPS_AT_ONCE)
        rows = [choices.chosen_TE[a:b] for a, b in pairwise(edges[start : chunk.stop + 1])]
        both_NEE = np.stack([chosen.T.astype(np.float32) @ chosen for chosen in rows])
        load_NE = np.diagonal(both_NEE, axis1=1, axis2=2)
        pairs_NP = both_NEE[:, a_P, b_P]
        tokens_P += pairs_NP.sum(0).astype(np.int64)
        k_NV = choices.k_NV[chunk]
        for sums_P, null in zip(sums, nulls, strict=True):
            explained_NP = (load_NE - k_NV @ null.single_VE) @ null.slope_PE.T
            residual_NP = pairs_NP - k_NV @ null.pair_VP - explained_NP
            sums_P += residual_NP.sum(0), tokens_N[chunk] @ residual_NP, (residual_NP**2).sum(0)
    return [tokens_P, *(group_variance(tokens_N, *sums_P) for sums_P in sums)]
