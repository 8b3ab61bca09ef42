"""Which experts of the next layer follow an expert more or less often than both loads say.

T = tokens that chose in both layers, N = groups, E = routed experts, P = E times E transitions.
"""

from itertools import pairwise

import numpy as np
import pandas as pd

from analysis.excess import MIN_EXPECTED, excess_tests, group_variance
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_number

CELLS_AT_ONCE = 2**21  # bounds memory


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
    length_N = np.unique(group_T, return_counts=True)[1]
    tokens_EE, spread_EE = _spread(here_TE, next_TE, length_N)
    effective = effective_number(length_N)
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
    few = NOT_ENOUGH if effective < MIN_EFFECTIVE else f"fewer than {MIN_EXPECTED} tokens expected"
    reason_P = np.select(
        [tests.expected == 0, always_EE.ravel(), tests.z.isna()],
        ["an expert that was never chosen", "an expert that every token chose", few],
        "",
    )
    table = table.assign(tokens=tokens_EE.ravel()).join(tests).assign(reason=reason_P)
    return table.convert_dtypes()


def _spread(
    here_TE: np.ndarray, next_TE: np.ndarray, length_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Transitions, and the variance over groups of their number less what is expected, [E, E].

    A residual is a group's count less what its own loads in the two layers explain, so that a
    group with loads of its own is no transition.
    """
    groups = list(pairwise(np.append(0, np.cumsum(length_N))))
    here_TE, next_TE = here_TE.astype(np.float32), next_TE.astype(np.float32)
    next_k_T, k_T = next_TE.sum(-1), here_TE.sum(-1)
    tokens_EE = (here_TE.T @ next_TE).astype(np.float64)
    total = tokens_EE.sum()
    share_E1, next_share_E = tokens_EE.sum(1)[:, None] / total, tokens_EE.sum(0) / total
    sums_3EE = np.zeros((3, *tokens_EE.shape))
    made_N = np.zeros(len(groups))
    at_once = max(1, CELLS_AT_ONCE // tokens_EE.size)
    for start in range(0, len(groups), at_once):
        chunk = groups[start : start + at_once]
        residual_NEE = np.stack([here_TE[a:b].T @ next_TE[a:b] for a, b in chunk])
        load_NE = np.stack([next_k_T[a:b] @ here_TE[a:b] for a, b in chunk])
        next_load_NE = np.stack([k_T[a:b] @ next_TE[a:b] for a, b in chunk])
        made_n = load_NE.sum(-1)
        made_N[start : start + at_once] = made_n
        residual_NEE -= load_NE[:, :, None] * next_share_E
        residual_NEE -= share_E1 * (next_load_NE - made_n[:, None] * next_share_E)[:, None, :]
        sums_3EE[0] += residual_NEE.sum(0)
        sums_3EE[1] += np.tensordot(made_n, residual_NEE, 1)
        sums_3EE[2] += np.einsum("nab,nab->ab", residual_NEE, residual_NEE)
    return tokens_EE.astype(np.int64), group_variance(made_N, *sums_3EE)


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
