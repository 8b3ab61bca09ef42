"""vllm-ascend's expert map: which experts lie on which device, in order."""

from collections.abc import Sequence

from data.exports.layer_numbers import experts_of_all
from data.routing import LayerDescription


def expert_map(layers: Sequence[LayerDescription], devices: int) -> dict[str, object]:
    """Equally many experts a device, in order. vllm-ascend counts MoE layers alone, from 0."""
    experts = experts_of_all(layers, "vllm-ascend's expert map")
    if experts % devices:
        raise ValueError(
            f"{experts} experts do not spread evenly over {devices} devices; give a number that "
            f"divides {experts}"
        )
    each = experts // devices
    on_devices = [
        {"device_id": device, "device_expert": list(range(device * each, (device + 1) * each))}
        for device in range(devices)
    ]
    return {
        "moe_layer_count": len(layers),
        "layer_list": [
            {"layer_id": layer_id, "device_count": devices, "device_list": on_devices}
            for layer_id in range(len(layers))
        ],
    }
