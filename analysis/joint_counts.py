"""How often the tokens of each group chose two experts: sums over groups without the table of all
groups and pairs.

T = tokens, N = groups, A, B = experts of two layers or of one, C = choices, X = weights of groups.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

PAIRS_AT_ONCE = 2**20  # of choices: bounds memory


@dataclass(frozen=True, slots=True)
class JointSums:
    """n_ab of a group is how many of its tokens chose a and b; sums over groups of"""

    weighted_XAB: np.ndarray  # n_ab times a weight of the group
    square_AB: np.ndarray  # its square
    row_AB: np.ndarray  # n_ab times the group's value of a
    column_AB: np.ndarray  # and of b


def joint_sums(
    first_TA: np.ndarray,
    second_TB: np.ndarray,
    group_T: np.ndarray,
    *,
    weight_NX: np.ndarray,
    row_NA: np.ndarray,
    column_NB: np.ndarray,
) -> JointSums:
    """group_T counts from 0. Of one layer with itself only a < b is counted."""
    first, second = _sparse(first_TA), _sparse(second_TB)
    if (np.diff(group_T) < 0).any():
        order_T = np.argsort(group_T, kind="stable")
        first, second, group_T = first[order_T], second[order_T], group_T[order_T]
    num_first, num_second = first.shape[1], second.shape[1]
    num_cells, num_weights = num_first * num_second, weight_NX.shape[1]
    weighted = np.zeros((num_cells, num_weights))
    others_3 = np.zeros((3, num_cells))
    edge_N = np.append(0, np.bincount(group_T).cumsum())
    made_N = np.append(0, (np.diff(first.indptr) * np.diff(second.indptr)).cumsum())[edge_N]
    start = 0
    while start < len(edge_N) - 1:
        enough = int(np.searchsorted(made_N, made_N[start] + PAIRS_AT_ONCE, "right")) - 1
        stop = max(start + 1, enough)
        of_T = slice(edge_N[start], edge_N[stop])
        group, row, column, tokens = _counts(first[of_T], second[of_T], group_T[of_T] - start)
        if second_TB is first_TA:
            kept = row < column
            group, row, column, tokens = group[kept], row[kept], column[kept], tokens[kept]
        cell = row * num_second + column
        begins = np.append(0, np.bincount(group, minlength=stop - start).cumsum())
        by_group = sparse.csr_array((tokens, cell, begins), shape=(stop - start, num_cells))
        weighted += by_group.T @ weight_NX[start:stop]
        group += start
        factors = tokens, row_NA[group, row], column_NB[group, column]
        for sums, factor in zip(others_3, factors, strict=True):
            sums += np.bincount(cell, tokens * factor, num_cells)
        start = stop
    square_AB, row_AB, column_AB = others_3.reshape(3, num_first, num_second)
    weighted_XAB = weighted.T.reshape(num_weights, num_first, num_second)
    return JointSums(weighted_XAB, square_AB, row_AB, column_AB)


def _counts(
    first: sparse.csr_array, second: sparse.csr_array, group_T: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Group, a, b and tokens that chose both, where there are any; groups ascend."""
    num_groups, (num_tokens, num_first) = int(group_T.max()) + 1, first.shape
    token_C = np.repeat(np.arange(num_tokens), np.diff(first.indptr))
    of_group = group_T[token_C] * num_first + first.indices, token_C
    member = sparse.csr_array(
        (np.ones(len(token_C)), of_group), shape=(num_groups * num_first, num_tokens)
    )
    counts = member @ second
    row = np.repeat(np.arange(len(counts.indptr) - 1), np.diff(counts.indptr))
    group, row = np.divmod(row, num_first)
    return group, row, counts.indices, counts.data


def _sparse(chosen_TE: np.ndarray) -> sparse.csr_array:
    token_C, expert_C = np.divmod(np.flatnonzero(chosen_TE), chosen_TE.shape[-1])
    begins = np.append(0, np.bincount(token_C, minlength=len(chosen_TE)).cumsum())
    return sparse.csr_array((np.ones(len(token_C)), expert_C, begins), shape=chosen_TE.shape)


def summed_by_group(
    chosen_TE: np.ndarray, group_T: np.ndarray, times_T: np.ndarray | None = None
) -> np.ndarray:
    """Tokens of every group by expert, each counted so many times [N, E]."""
    num_experts, num_groups = chosen_TE.shape[-1], int(group_T.max()) + 1
    token_C, expert_C = np.divmod(np.flatnonzero(chosen_TE), num_experts)
    cell_C = group_T[token_C] * num_experts + expert_C
    weight_C = None if times_T is None else times_T[token_C]
    cells = np.bincount(cell_C, weight_C, num_groups * num_experts)
    return cells.reshape(num_groups, num_experts).astype(np.float64)
