"""Where the choices of single tokens lead. C = choices of a layer, by token; T = tokens, E = routed
experts, H = GPUs, M = nodes."""

import numpy as np

from data.compiled import compiled

MULTIPLIER, INCREMENT = 6364136223846793005, 1442695040888963407  # Knuth's MMIX generator


@compiled()
def count_pairs(expert_id_C, token_C, num_experts):  # type: ignore[no-untyped-def]
    """pairs_EE: tokens that chose both; 0 of an expert with itself."""
    pairs_EE = np.zeros((num_experts, num_experts), np.int64)
    begin = 0
    while begin < len(token_C):
        end = begin
        while end < len(token_C) and token_C[end] == token_C[begin]:
            end += 1
        for first in range(begin, end):
            for second in range(first + 1, end):
                one, other = expert_id_C[first], expert_id_C[second]
                if one != other:
                    pairs_EE[one, other] += 1
                    pairs_EE[other, one] += 1
        begin = end
    return pairs_EE


@compiled()
def count_routes(  # type: ignore[no-untyped-def]
    expert_id_C, token_C, places_ER, copies_E, gpu_P, node_H, gpus_T, nodes_T, served_HH
):
    """How many GPUs and nodes each token's choices reach in a layer, added to gpus_T and nodes_T,
    and to served_HH how many tokens both GPUs serve, the first one before the second (on the
    diagonal: one does). Of several copies
    of an expert each choice takes one at random, always the same.
    """
    num_gpus, num_nodes = len(node_H), node_H.max() + 1
    reached = np.empty(num_gpus, np.int64)
    on_gpu_H, on_node_M = np.full(num_gpus, -1), np.full(num_nodes, -1)
    state = np.uint64(1)
    begin = 0
    while begin < len(token_C):
        token, end, found = token_C[begin], begin, 0
        while end < len(token_C) and token_C[end] == token:
            expert = expert_id_C[end]
            copy = 0
            if copies_E[expert] > 1:
                state = state * np.uint64(MULTIPLIER) + np.uint64(INCREMENT)
                copy = np.int64(state >> np.uint64(33)) % copies_E[expert]
            gpu = gpu_P[places_ER[expert, copy]]
            if on_gpu_H[gpu] != begin:
                on_gpu_H[gpu] = begin
                reached[found] = gpu
                found += 1
                if on_node_M[node_H[gpu]] != begin:
                    on_node_M[node_H[gpu]] = begin
                    nodes_T[token] += 1
            end += 1
        gpus_T[token] += found
        for first in range(found):
            for second in range(first + 1):
                one, other = reached[first], reached[second]
                served_HH[min(one, other), max(one, other)] += 1
        begin = end
