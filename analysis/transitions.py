"""Which experts of the next layer follow an expert more or less often than both loads say.

T = tokens that chose in both layers, N = groups, E = routed experts, P = E times E transitions.
"""

import numpy as np
import pandas as pd

from analysis.excess import excess_tests, group_variance, why_untested
from analysis.groups import effective_number
from analysis.joint_counts import joint_sums, summed_by_group


def transition_significance(
    here_TE: np.ndarray, next_TE: np.ndarray, group_T: np.ndarray
) -> pd.DataFrame:
    """Every expert with every expert of the next layer, against independent choices in the two.

    expert_id, next_expert_id, tokens, expected, lift and the ends low and high of its 95 %
    interval, z, p and q (Benjamini-Hochberg over the layer's transitions), reason (why it is
    empty). The spread is that of groups: the choices of a token belong together.
    """
    both_T = (here_TE.sum(-1) > 0) & (next_TE.sum(-1) > 0)
    if not both_T.any():
        raise ValueError("no token chose experts in both layers")
    here_TE, next_TE, group_T = here_TE[both_T], next_TE[both_T], group_T[both_T]
    group_T = np.unique(group_T, return_inverse=True)[1]
    tokens_EE, spread_EE = _spread(here_TE, next_TE, group_T)
    effective = effective_number(np.bincount(group_T))
    share_E, next_share_E = (tokens_EE.sum(axis) / tokens_EE.sum() for axis in (1, 0))
    least_EE = _independent_variance(here_TE.sum(-1), next_TE.sum(-1), share_E, next_share_E)
    always_EE = np.logical_or.outer(here_TE.all(0), next_TE.all(0))
    least_EE[always_EE] = 0
    expert, following = np.indices(tokens_EE.shape).reshape(2, -1)
    table = pd.DataFrame({"expert_id": expert, "next_expert_id": following})
    tests = excess_tests(
        tokens_EE.ravel(),
        (tokens_EE.sum() * np.outer(share_E, next_share_E)).ravel(),
        spread_P=spread_EE.ravel(),
        least_P=least_EE.ravel(),
        effective=effective,
    )
    why_P = why_untested(tests.expected.to_numpy(float), effective=effective)
    reason_P = np.select(
        [tests.expected == 0, always_EE.ravel(), tests.z.isna()],
        ["an expert that was never chosen", "an expert that every token chose", why_P],
        "",
    )
    table = table.assign(tokens=tokens_EE.ravel()).join(tests).assign(reason=reason_P)
    return table.convert_dtypes()


def _spread(
    here_TE: np.ndarray, next_TE: np.ndarray, group_T: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Transitions, and the variance over groups of their number less what is expected, [E, E].

    A residual is a group's count less what its own loads in the two layers explain, so that a
    group with loads of its own is no transition; its square is multiplied out.
    """
    load_NE = summed_by_group(here_TE, group_T, next_TE.sum(-1))
    next_load_NE = summed_by_group(next_TE, group_T, here_TE.sum(-1))
    made_N = load_NE.sum(-1)
    sums = joint_sums(
        here_TE,
        next_TE,
        group_T,
        weight_NX=np.column_stack([np.ones(len(made_N)), made_N]),
        row_NA=load_NE,
        column_NB=next_load_NE,
    )
    tokens_EE, by_made_EE = sums.weighted_XAB
    share_E1 = load_NE.sum(0)[:, None] / made_N.sum()
    next_share_E = next_load_NE.sum(0) / made_N.sum()
    both_EE = share_E1 * next_share_E
    by_load_E1, by_next_load_E = (made_N @ load_NE)[:, None], made_N @ next_load_NE
    made_2 = made_N @ made_N
    crossed_EE = next_share_E * sums.row_AB + share_E1 * sums.column_AB - both_EE * by_made_EE
    explained_EE = (
        next_share_E**2 * (load_NE**2).sum(0)[:, None]
        + share_E1**2 * (next_load_NE**2).sum(0)
        + both_EE**2 * made_2
        + 2 * both_EE * (load_NE.T @ next_load_NE)
        - 2 * both_EE * (next_share_E * by_load_E1 + share_E1 * by_next_load_E)
    )
    by_length_EE = by_made_EE - next_share_E * by_load_E1 - share_E1 * by_next_load_E
    spread_EE = group_variance(
        made_N,
        tokens_EE - both_EE * made_N.sum(),
        by_length_EE + both_EE * made_2,
        sums.square_AB - 2 * crossed_EE + explained_EE,
    )
    return tokens_EE.round().astype(np.int64), spread_EE


def _independent_variance(
    k_T: np.ndarray, next_k_T: np.ndarray, share_E: np.ndarray, next_share_E: np.ndarray
) -> np.ndarray:
    """Of tokens that choose independently, an expert with chance k times its share [E, E]:
    sum of p (1 - p) q (1 - q)."""
    chance_2 = np.stack([k_T, k_T**2]).astype(float)
    next_chance_2 = np.stack([next_k_T, next_k_T**2]).astype(float)
    powers_22 = chance_2 @ next_chance_2.T
    here_E2 = np.stack([share_E, -(share_E**2)], -1)
    next_E2 = np.stack([next_share_E, -(next_share_E**2)], -1)
    return np.maximum(here_E2 @ powers_22 @ next_E2.T, 0.0)
