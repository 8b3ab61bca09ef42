"""Tokens in the components of a truncated SVD, straight from the lists of their choices.

P = points, S = components, F = features: a layer and an expert. C = lists of choices, R = choices,
K = choices of a token in a layer.
"""

import numpy as np

from data.compiled import FAST, compiled


@compiled(fastmath=FAST)
def _root(expert_id_K, weight_K, k, total, num_experts):  # type: ignore[no-untyped-def]
    """The square root of the k-th choice's share, and its expert; 0 where none is."""
    if k >= len(expert_id_K) or not 0 <= expert_id_K[k] < num_experts:
        return np.float32(0), np.int64(0)
    weight = np.float32(1) if np.isnan(weight_K[k]) else weight_K[k]
    return np.sqrt(weight / total), np.int64(expert_id_K[k])


@compiled(fastmath=FAST)
def _add_layer(expert_id_K, weight_K, total, layer_ES, sum_S):  # type: ignore[no-untyped-def]
    for k in range(0, len(expert_id_K), 4):
        root_0, expert_0 = _root(expert_id_K, weight_K, k, total, len(layer_ES))
        root_1, expert_1 = _root(expert_id_K, weight_K, k + 1, total, len(layer_ES))
        root_2, expert_2 = _root(expert_id_K, weight_K, k + 2, total, len(layer_ES))
        root_3, expert_3 = _root(expert_id_K, weight_K, k + 3, total, len(layer_ES))
        first_S, second_S = layer_ES[expert_0], layer_ES[expert_1]
        third_S, fourth_S = layer_ES[expert_2], layer_ES[expert_3]
        for s in range(len(sum_S)):
            half = root_0 * first_S[s] + root_1 * second_S[s]
            sum_S[s] += half + (root_2 * third_S[s] + root_3 * fourth_S[s])


@compiled(fastmath=FAST)
def add_choices(  # type: ignore[no-untyped-def]
    place_C, layer_id_C, end_C, expert_id_R, weight_R, num_experts, place_P, components_FS, sum_PS
):
    """To sum_PS: routed_features.token_features() @ components_FS, of the points among these.

    Lists of one place and layer follow one another, and are one; place_P ascends. What is no expert
    is left out, and a weight that is NaN is 1.
    """
    num_lists = len(place_C)
    begin = c = 0
    point, seen = -1, np.uint64(0)
    while c < num_lists:
        place, layer_id = place_C[c], layer_id_C[c]
        while c < num_lists and place_C[c] == place and layer_id_C[c] == layer_id:
            c += 1
        first, begin = begin, end_C[c - 1]
        if point < 0 or place != seen:
            point, seen = np.searchsorted(place_P, place), place
            if point == len(place_P) or place_P[point] != place:
                point = -1
                continue
        expert_id_K, weight_K = expert_id_R[first:begin], weight_R[first:begin]
        total = np.float32(0)
        for k in range(len(expert_id_K)):
            if 0 <= expert_id_K[k] < num_experts:
                total += np.float32(1) if np.isnan(weight_K[k]) else weight_K[k]
        if total > 0:
            begins = np.int64(layer_id) * num_experts
            layer_ES = components_FS[begins : begins + num_experts]
            _add_layer(expert_id_K, weight_K, total, layer_ES, sum_PS[point])
