"""What is counted in the choices of tokens, in one pass over them.

T = tokens, L = MoE layers, K = most experts any token chose, E = routed experts,
S = segments (tokens that are counted together), R = rows of what occurs, B = tokens of a block.
"""

import numpy as np

from data.compiled import compiled
from data.routing import NO_EXPERT

BLOCK = 8_192  # tokens that are counted layer by layer
NO_LAYER = -1


@compiled()
def add_together(ids_BK, length, pairs_EE):  # type: ignore[no-untyped-def]
    """False: a token chose an expert twice."""
    top_k = ids_BK.shape[1]
    for token in range(length):
        for place in range(1, top_k):
            expert = ids_BK[token, place]
            if expert == NO_EXPERT:
                continue
            for other_place in range(place):
                other = ids_BK[token, other_place]
                if other == expert:
                    return False
                if other != NO_EXPERT:
                    pairs_EE[min(expert, other), max(expert, other)] += 1
    return True


@compiled()
def add_following(before_BK, ids_BK, length, steps_EE):  # type: ignore[no-untyped-def]
    top_k = ids_BK.shape[1]
    for token in range(length):
        for place in range(top_k):
            expert = ids_BK[token, place]
            if expert == NO_EXPERT:
                continue
            for before_place in range(top_k):
                before = before_BK[token, before_place]
                if before != NO_EXPERT:
                    steps_EE[before, expert] += 1


@compiled()
def move(counts_EE, total_LEE, layer):  # type: ignore[no-untyped-def]
    """From small numbers, which are 0 then, to large ones."""
    for row in range(len(counts_EE)):
        for column in range(len(counts_EE)):
            total_LEE[layer, row, column] += counts_EE[row, column]
            counts_EE[row, column] = 0


@compiled()
def add_pairs(  # type: ignore[no-untyped-def]
    expert_ids_TLK, together_LEE, following_LEE, first_layer, after_layer
):
    """Of some layers. To together_LEE: tokens that chose a and b, a < b. To following_LEE
    [L - 1, E, E]: those that chose a in the layer before, and b. Ids are below E.

    The first layer in which a token chose an expert twice, at which counting stops, or NO_LAYER.
    """
    tokens, _, top_k = expert_ids_TLK.shape
    side = together_LEE.shape[1:]
    pairs_EE, steps_EE = np.zeros(side, np.int32), np.zeros(side, np.int32)  # small: stay in cache
    ids_BK = np.empty((BLOCK, top_k), np.int16)
    before_BK = np.empty_like(ids_BK)
    for first in range(0, tokens, BLOCK):
        length = min(BLOCK, tokens - first)
        for layer in range(max(0, first_layer - 1), after_layer):
            ids_BK, before_BK = before_BK, ids_BK
            for token in range(length):
                for place in range(top_k):
                    ids_BK[token, place] = expert_ids_TLK[first + token, layer, place]
            if layer < first_layer:
                continue
            if not add_together(ids_BK, length, pairs_EE):
                return layer
            move(pairs_EE, together_LEE, layer)
            if layer:
                add_following(before_BK, ids_BK, length, steps_EE)
                move(steps_EE, following_LEE, layer - 1)
    return NO_LAYER


@compiled()
def add_loads(  # type: ignore[no-untyped-def]
    row_T, start_S1, expert_ids_TLK, weights_TLK, num_experts, place_R3, tokens_R, weight_R
):
    """Rows (segment, layer, expert) that occur, in this order, to place_R3 (int32); their choices
    and the sum of their weights (float64). A segment is the tokens row_T[start : next start]; ids
    are below num_experts. How many rows there are."""
    layers, top_k = expert_ids_TLK.shape[1:]
    chosen_E = np.zeros(num_experts, np.uint32)
    weight_E = np.zeros(num_experts, np.float64)
    row = 0
    for segment in range(len(start_S1) - 1):
        for layer in range(layers):
            for place in range(start_S1[segment], start_S1[segment + 1]):
                token = row_T[place]
                for k in range(top_k):
                    expert = expert_ids_TLK[token, layer, k]
                    if expert != NO_EXPERT:
                        chosen_E[expert] += 1
                        weight_E[expert] += weights_TLK[token, layer, k]
            for expert in range(num_experts):
                if chosen_E[expert]:
                    place_R3[row, 0] = segment
                    place_R3[row, 1] = layer
                    place_R3[row, 2] = expert
                    tokens_R[row] = chosen_E[expert]
                    weight_R[row] = weight_E[expert]
                    row += 1
                    chosen_E[expert] = 0
                    weight_E[expert] = 0.0
    return row


def segment_loads(
    segment_T: np.ndarray, expert_ids_TLK: np.ndarray, weights_TLK: np.ndarray, *, num_experts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(place_R3, tokens_R, weight_R) of the (segment, layer, expert) that occur, in this order.
    Segments are numbered from 0; weights are added up in float64."""
    require_known(expert_ids_TLK, num_experts)
    layers, top_k = expert_ids_TLK.shape[1:]
    length_S = np.bincount(segment_T)
    start_S1 = np.concatenate([[0], np.cumsum(length_S)])
    rows = int(np.minimum(length_S * top_k, num_experts).sum()) * layers
    place_R3, tokens_R = np.empty((rows, 3), np.int32), np.empty(rows, np.uint32)
    weight_R = np.empty(rows)
    row_T = np.argsort(segment_T, kind="stable")
    rows = add_loads(
        row_T, start_S1, expert_ids_TLK, weights_TLK, num_experts, place_R3, tokens_R, weight_R
    )
    return place_R3[:rows], tokens_R[:rows], weight_R[:rows]


def require_known(expert_ids_TLK: np.ndarray, num_experts: int) -> None:
    """ValueError. The loops above would write where nothing of theirs is."""
    if expert_ids_TLK.size:
        low, high = expert_ids_TLK.min(), expert_ids_TLK.max()
        if low < NO_EXPERT or high >= num_experts:
            raise ValueError(f"expert ids from {low} to {high}, of {num_experts} experts")


def warm() -> None:
    """Compile the loops, or load what was compiled: the first to count does not wait for it."""
    ids_TLK, counts_LEE = np.zeros((1, 1, 1), np.int16), np.zeros((1, 1, 1), np.int64)
    add_pairs(ids_TLK, counts_LEE, counts_LEE, 0, 1)
    segment_loads(np.zeros(1, int), ids_TLK, np.zeros((1, 1, 1), np.float32), num_experts=1)
