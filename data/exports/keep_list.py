"""The experts that llmcompressor keeps, by layer. L = MoE layers, E = routed experts."""

from collections.abc import Sequence

import numpy as np

from data.exports.layer_numbers import layer_numbers
from data.routing import LayerDescription


def keep_list(
    layers: Sequence[LayerDescription], amount_LE: np.ndarray, keep: int
) -> dict[str, list[int]]:
    """Of each layer those with the largest amounts, ids ascending; of equal ones the first."""
    kept = {}
    for number, layer, amount_E in zip(layer_numbers(layers), layers, amount_LE, strict=True):
        if not 1 <= keep <= layer.num_experts:
            raise ValueError(
                f"{layer.name} has {layer.num_experts} experts and cannot keep {keep}; give 1 to "
                f"{layer.num_experts}"
            )
        best_E = np.argsort(-amount_E[: layer.num_experts], kind="stable")
        kept[str(number)] = np.sort(best_E[:keep]).tolist()
    return kept
