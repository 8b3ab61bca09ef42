"""vllm-ascend's expert map: which experts lie on which device, in order.

L = MoE layers, P = places.
"""

from collections.abc import Sequence

import numpy as np

from data.exports.layer_numbers import experts_of_all
from data.routing import LayerDescription


def expert_map(
    layers: Sequence[LayerDescription], devices: int, experts_LP: np.ndarray | None = None
) -> dict[str, object]:
    """Equally many places a device, without any given one of each expert, in order. vllm-ascend
    counts MoE layers alone, from 0."""
    experts = experts_of_all(layers, "vllm-ascend's expert map")
    if experts_LP is None:
        experts_LP = np.tile(np.arange(experts), (len(layers), 1))
    if experts_LP.shape[1] % devices:
        raise ValueError(
            f"{experts_LP.shape[1]} experts do not spread evenly over {devices} devices; give a "
            f"number that divides {experts_LP.shape[1]}"
        )
    return {
        "moe_layer_count": len(layers),
        "layer_list": [
            {
                "layer_id": layer_id,
                "device_count": devices,
                "device_list": [
                    {"device_id": device, "device_expert": held.tolist()}
                    for device, held in enumerate(np.split(experts_P, devices))
                ],
            }
            for layer_id, experts_P in enumerate(experts_LP)
        ],
    }
