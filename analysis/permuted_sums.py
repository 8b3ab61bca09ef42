"""Sums over the groups of every domain, for each of many permutations of the labels.

Compiled: a permutation adds up as many rows as there are groups, where a product of matrices would
multiply all of them once for each domain.

N = groups, E = experts, G = domains, P = permutations.
"""

import numpy as np

from data.compiled import FAST, compiled


@compiled(fastmath=FAST)
def add_sums(value_NE, size_N, labels_PN, start_G1, sums_PGSE, sizes_PG2):  # type: ignore[no-untyped-def]
    """To sums_PGSE: of the values, of those times the size, and of their squares (S = 3). To
    sizes_PG2: of the sizes and of their squares.

    All float32, the last group of values and sizes 0, labels int32. start_G1 (int32): the first
    group of each domain if they are in the order of the labels, then their number.
    """
    num_permutations, num_groups = labels_PN.shape
    order_N = np.empty(num_groups, np.int32)
    place_G = np.empty(len(start_G1) - 1, np.int32)
    for p in range(num_permutations):
        for g in range(len(place_G)):
            place_G[g] = start_G1[g]
        for n in range(num_groups):
            label = labels_PN[p, n]
            order_N[place_G[label]] = n
            place_G[label] += 1
        for g in range(len(place_G)):
            last = start_G1[g + 1]
            for i in range(start_G1[g], last):
                sizes_PG2[p, g, 0] += size_N[order_N[i]]
                sizes_PG2[p, g, 1] += size_N[order_N[i]] * size_N[order_N[i]]
            for i in range(start_G1[g], last, 4):
                n0 = order_N[i]
                n1 = order_N[i + 1] if i + 1 < last else num_groups
                n2 = order_N[i + 2] if i + 2 < last else num_groups
                n3 = order_N[i + 3] if i + 3 < last else num_groups
                for e in range(value_NE.shape[1]):
                    x0, x1 = value_NE[n0, e], value_NE[n1, e]
                    x2, x3 = value_NE[n2, e], value_NE[n3, e]
                    cross, square = sums_PGSE[p, g, 1, e], sums_PGSE[p, g, 2, e]
                    cross += x0 * size_N[n0]
                    square += x0 * x0
                    cross += x1 * size_N[n1]
                    square += x1 * x1
                    cross += x2 * size_N[n2]
                    square += x2 * x2
                    cross += x3 * size_N[n3]
                    square += x3 * x3
                    sums_PGSE[p, g, 0, e] += (x0 + x1) + (x2 + x3)
                    sums_PGSE[p, g, 1, e] = cross
                    sums_PGSE[p, g, 2, e] = square
