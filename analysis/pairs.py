"""Which experts are chosen together more or less often than two nulls say.

Uniform: k of E drawn uniformly for every token. Load: every token keeps its k and every expert its
load, and nothing else is preferred; what curveball swaps of the token x expert matrix sample, here
from its maximum-entropy law (analysis/fixed_loads.py). The spread is taken over groups.

T = tokens, N = groups, E = routed experts, P = pairs a < b, V = values of k that occur, F = vectors
of loads.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.excess import excess_tests, group_variance, why_untested
from analysis.fixed_loads import FixedLoads, feasible, fixed_loads, square_sums
from analysis.groups import effective_number
from analysis.joint_counts import joint_sums, summed_by_group
from analysis.permutation import adjusted

TOO_MANY = "too many experts for the null of fixed loads; k of E can be tested"


@dataclass(frozen=True, slots=True)
class _Choices:
    """One layer's choices; group_T counts from 0, tokens that chose nothing are left out."""

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
    load, reason_P = _load_null(choices)
    effective = effective_number(choices.k_NV.sum(-1))
    table = pd.DataFrame({"expert_a": pairs_P[0], "expert_b": pairs_P[1]})
    table["tokens"], *spreads = _spread(choices, uniform_V, load)
    expected_P = np.full(len(table), choices.tokens_V @ uniform_V)
    least = choices.tokens_V @ (uniform_V * (1 - uniform_V))
    nulls = {
        "uniform": (expected_P, np.full(len(table), least)),
        "load": (choices.tokens_V @ load.pair_VP, load.variance_P),
    }
    for (name, (expected_P, least_P)), spread_P in zip(nulls.items(), spreads, strict=True):
        tests = excess_tests(
            table.tokens.to_numpy(),
            expected_P,
            spread_P=spread_P,
            least_P=least_P,
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
    why_P = why_untested(table.expected_load.to_numpy(float), effective=effective)
    return table.assign(reason=np.where(few_P, why_P, reason_P)).convert_dtypes()


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
    if not feasible(int(free_E.sum()), free_k_V):
        return _unknown(len(choices.k_V), len(tokens_E)), np.full(len(a_P), TOO_MANY)
    law = fixed_loads(tokens_E[free_E], k_V=free_k_V, tokens_V=choices.tokens_V)
    num_experts, free_P = len(tokens_E), free_E[a_P] & free_E[b_P]
    single_VE = np.repeat(always_E[None].astype(float), len(choices.k_V), axis=0)
    single_VE[:, free_E] = law.single_VE
    pair_VP = single_VE[:, a_P] * single_VE[:, b_P]  # exact where either is dead or always chosen
    pair_VP[:, free_P] = law.pair_VP
    base_FE = np.zeros((len(law.base_FE), num_experts))
    base_FE[:, free_E] = law.base_FE
    inverse_EE = np.zeros((num_experts, num_experts))
    inverse_EE[np.ix_(free_E, free_E)] = law.inverse_EE
    part_FP, own_2P, variance_P = (
        np.zeros((*rows, len(a_P))) for rows in ((len(base_FE),), (2,), ())
    )
    part_FP[:, free_P], own_2P[:, free_P] = law.part_FP, law.own_2P
    variance_P[free_P] = law.variance_P
    whole = FixedLoads(
        single_VE=single_VE,
        pair_VP=pair_VP,
        base_FE=base_FE,
        part_FP=part_FP,
        own_2P=own_2P,
        inverse_EE=inverse_EE,
        variance_P=variance_P,
    )
    return whole, reason_P


def _unknown(num_values: int, num_experts: int) -> FixedLoads:
    num_pairs = num_experts * (num_experts - 1) // 2
    return FixedLoads(
        single_VE=np.zeros((num_values, num_experts)),
        pair_VP=np.full((num_values, num_pairs), np.nan),
        base_FE=np.zeros((0, num_experts)),
        part_FP=np.zeros((0, num_pairs)),
        own_2P=np.zeros((2, num_pairs)),
        inverse_EE=np.zeros((num_experts, num_experts)),
        variance_P=np.full(num_pairs, np.nan),
    )


def _spread(choices: _Choices, uniform_V: np.ndarray, load: FixedLoads) -> list[np.ndarray]:
    """Tokens of every pair, then for each null the variance of that number over groups.

    A residual is a group's count less its expectation, and less what its loads explain: the
    loads of the null are those of the trace, so they follow the groups. Counts and what explains
    them are multiplied out, so that no residual of a group and a pair is ever made.
    """
    num_groups, num_experts = len(choices.k_NV), choices.chosen_TE.shape[-1]
    a_P, b_P = np.triu_indices(num_experts, 1)
    tokens_N, expected_N = choices.k_NV.sum(-1), choices.k_NV @ uniform_V
    away_NE = summed_by_group(choices.chosen_TE, choices.group_T) - choices.k_NV @ load.single_VE
    own_NE = away_NE @ load.inverse_EE
    explaining_NF = own_NE @ load.base_FE.T
    weight_NX = np.column_stack(
        [np.ones(num_groups), tokens_N, expected_N, choices.k_NV, explaining_NF]
    )
    sums = joint_sums(
        choices.chosen_TE,
        choices.chosen_TE,
        choices.group_T,
        weight_NX=weight_NX,
        row_NA=own_NE,
        column_NB=own_NE,
    )
    weighted_XP, square_P = sums.weighted_XAB[:, a_P, b_P], sums.square_AB[a_P, b_P]
    tokens_P, by_length_P, by_expected_P = weighted_XP[:3]
    uniform = group_variance(
        tokens_N,
        tokens_P - expected_N.sum(),
        by_length_P - expected_N @ tokens_N,
        square_P - 2 * by_expected_P + expected_N @ expected_N,
    )
    part_XP, weight_NX = np.concatenate([load.pair_VP, load.part_FP]), weight_NX[:, 3:]

    def explained(times_N: np.ndarray) -> np.ndarray:
        by_own_E = times_N @ own_NE
        own_P = load.own_2P[0] * by_own_E[a_P] + load.own_2P[1] * by_own_E[b_P]
        return times_N @ weight_NX @ part_XP + own_P

    all_N = np.concatenate([weight_NX, own_NE], 1)
    crossed_P = np.einsum("xp,xp->p", weighted_XP[3:], part_XP)
    for own_P, by_own_EE in zip(load.own_2P, (sums.row_AB, sums.column_AB), strict=True):
        crossed_P += own_P * by_own_EE[a_P, b_P]
    by_load = group_variance(
        tokens_N,
        tokens_P - explained(np.ones(num_groups)),
        by_length_P - explained(tokens_N),
        square_P - 2 * crossed_P + square_sums(part_XP, load.own_2P, all_N.T @ all_N),
    )
    return [tokens_P.round().astype(np.int64), uniform, by_load]
