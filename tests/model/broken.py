"""Models whose numbers are no numbers."""

import math

from torch import nn

from model.transformer import Transformer
from tests.model.captures import routed_by


def with_broken_gate(
    router: str = "softmax", *, value: float = math.nan, layer: int = 1, **changes: object
) -> Transformer:
    """One expert's row of one gate is that value."""
    model = routed_by(router, **changes)
    model.moe_layers()[layer].gate.get_parameter("weight_ED").data[3] = value
    return model


def all_nan() -> Transformer:
    model = routed_by("softmax")
    for parameter in model.parameters():
        nn.init.constant_(parameter, math.nan)
    return model
