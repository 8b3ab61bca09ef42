"""Which experts ESFT would train on the texts of a trace (arXiv 2407.01906), over all its tokens.

L = MoE layers, E = routed experts. Both scores are pooled: every token counts alike, where the
paper averages over texts first (`definitions.esft_document_score`).
"""

from collections.abc import Sequence

import numpy as np

from analysis.definitions import normalized_over_experts, selected_experts
from data.routing import LayerDescription

DECIMALS = 4  # of ESFT's scores


def token_score(tokens_LE: np.ndarray) -> np.ndarray:
    """Share of a layer's choices that each expert has [L, E]: n_e / (k T) where k is fixed."""
    return normalized_over_experts(tokens_LE)


def gate_score(weight_sum_LE: np.ndarray, tokens_L: np.ndarray) -> np.ndarray:
    """Mean weight of each expert over the layer's tokens, 0 where one did not choose it [L, E]."""
    score_LE = np.full(weight_sum_LE.shape, np.nan)
    some_L1 = tokens_L[:, None] > 0
    return np.divide(weight_sum_LE, tokens_L[:, None], out=score_LE, where=some_L1)


def selection(
    score_LE: np.ndarray, layers: Sequence[LayerDescription], *, top_p: float
) -> list[np.ndarray]:
    """Experts of each layer, best first, until their scores add up to top_p; of equal ones the
    first. Scores count to DECIMALS, as ESFT's released code takes them from its file of scores."""
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}; give a share above 0, at most 1")
    selected = []
    for layer, score_E in zip(layers, score_LE, strict=True):
        own_E = score_E[: layer.num_experts]
        if np.isnan(own_E).any():
            raise ValueError(f"{layer.name} has no choices, or their weights are unknown")
        ticks = 10**DECIMALS
        selected.append(selected_experts(np.rint(own_E * ticks), top_p * ticks))
    return selected
