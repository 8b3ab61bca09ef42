"""SGLang's --init-expert-location: where experts lie, or counts by which SGLang places them itself.

SGLang looks a layer up by its number in the model, so dense layers have a row, too. L = MoE layers,
E = routed experts, P = places.
"""

from collections.abc import Sequence

import numpy as np

from data.exports.layer_numbers import experts_of_all, layer_numbers
from data.routing import LayerDescription

WHAT = "SGLang's expert location"


def expert_location(
    layers: Sequence[LayerDescription], experts_LP: np.ndarray | None = None
) -> dict[str, list[list[int]]]:
    """The expert in each place; without any given one copy of each expert, in order, as it is in
    dense layers."""
    experts, numbers = experts_of_all(layers, WHAT), layer_numbers(layers)
    if experts_LP is None:
        experts_LP = np.tile(np.arange(experts), (len(layers), 1))
    places = np.arange(experts_LP.shape[1]) % experts
    rows = np.tile(places, (max(numbers) + 1, 1))
    rows[numbers] = experts_LP
    return {"physical_to_logical_map": rows.tolist()}


def expert_counts(
    layers: Sequence[LayerDescription], tokens_LE: np.ndarray
) -> dict[str, list[list[int]]]:
    """The loads of the trace; 0 in dense layers, as SGLang's recorder writes."""
    numbers = layer_numbers(layers)
    counts = np.zeros((max(numbers) + 1, experts_of_all(layers, WHAT)), np.int64)
    counts[numbers] = tokens_LE
    return {"logical_count": counts.tolist()}
