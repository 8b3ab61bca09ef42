"""What other tools call the layers of a trace, and what they expect of them. L = MoE layers."""

import re
from collections.abc import Sequence
from itertools import pairwise

from data.routing import LayerDescription

NUMBER = re.compile(r"(?:^|[. ])(\d{1,6})(?=[. ]|$)")


def layer_numbers(layers: Sequence[LayerDescription]) -> list[int]:
    """The model's own number of each layer: 3 of model.layers.3.mlp. Where a name has none, or two
    layers the same, as in an encoder and a decoder: their places among the MoE layers, from 0."""
    numbers = [int(found[-1]) for layer in layers if (found := NUMBER.findall(layer.name))]
    ascending = all(one < two for one, two in pairwise(numbers))
    return numbers if ascending and len(numbers) == len(layers) else list(range(len(layers)))


def experts_of_all(layers: Sequence[LayerDescription], what: str) -> int:
    """ValueError: layers have different numbers of experts, and `what` takes one."""
    first = layers[0]
    for layer in layers:
        if layer.num_experts != first.num_experts:
            raise ValueError(
                f"{first.name} has {first.num_experts} experts and {layer.name} "
                f"{layer.num_experts}; {what} takes the same number in every layer"
            )
    return first.num_experts
