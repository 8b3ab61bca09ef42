"""ESFT's files: which experts are trained, and the scores by which they were selected.

L = MoE layers, E = routed experts.
"""

from collections.abc import Sequence

import numpy as np

from data.exports.layer_numbers import layer_numbers
from data.routing import LayerDescription


def expert_config(
    layers: Sequence[LayerDescription], selected: Sequence[np.ndarray]
) -> dict[str, object]:
    """Experts of each layer, best first; neither shared experts nor other modules are trained."""
    numbers = layer_numbers(layers)
    return {
        "experts": {
            str(number): experts.tolist() for number, experts in zip(numbers, selected, strict=True)
        },
        "shared_experts": False,
        "non_expert_modules": False,
    }


def score_table(
    layers: Sequence[LayerDescription], score_LE: np.ndarray
) -> dict[str, dict[str, float]]:
    """By layer and expert."""
    numbers = layer_numbers(layers)
    return {
        str(number): {
            str(expert): score for expert, score in enumerate(score_E[: layer.num_experts].tolist())
        }
        for number, layer, score_E in zip(numbers, layers, score_LE, strict=True)
    }
