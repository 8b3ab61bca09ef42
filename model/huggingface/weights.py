"""Weights of the experts of transformers, whichever way round they are stored.

E = experts, F = inner neurons of an expert, D = model dim, P = parts of a neuron, T = tokens.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def neurons(experts: nn.Module, *, name: str) -> np.ndarray:
    """As MoELayer.neurons has it; biases are left out.

    ValueError: they are not stacked.
    """
    first = getattr(experts, "gate_up_proj", getattr(experts, "up_proj", None))
    down = getattr(experts, "down_proj", None)
    if not isinstance(first, Tensor) or not isinstance(down, Tensor) or first.dim() != 3:
        raise ValueError(
            f"the experts of {name} ({type(experts).__name__}) are not stored as two stacked "
            "weights: their neurons cannot be compared"
        )
    first_EFD, down_EDF = first.detach().float().cpu(), down.detach().float().cpu()
    if getattr(experts, "is_transposed", first_EFD.shape[2] != down_EDF.shape[1]):
        first_EFD, down_EDF = first_EFD.transpose(1, 2), down_EDF.transpose(1, 2)
    number = len(down_EDF)  # of experts that have weights: identity experts have none
    parts = [*halves(experts, first_EFD[:number].transpose(1, 2)), down_EDF]
    neurons_EFPD = torch.stack([part.transpose(1, 2) for part in parts], 2)
    return (
        neurons_EFPD if may_be_negated(experts) else neurons_EFPD.flatten(2)[:, :, None]
    ).numpy()


def halves(experts: nn.Module, both: Tensor) -> list[Tensor]:
    """Of the last dimension: gate and up, or up alone where experts have no gate."""
    if not getattr(experts, "has_gate", True):
        return [both]
    if getattr(experts, "is_concatenated", True):
        return list(both.chunk(2, dim=-1))
    return [both[..., ::2], both[..., 1::2]]


def may_be_negated(experts: nn.Module) -> bool:
    """Whether up row and down column of a neuron negated together give the same."""
    if not getattr(experts, "has_gate", True):
        return False
    apply: Any = getattr(experts, "_apply_gate", None)
    if apply is None:
        return True
    weight = next(experts.parameters())
    row_TF = torch.linspace(-3, 3, 16, device=weight.device, dtype=weight.dtype).view(2, 8)
    other_TF = row_TF.clone()
    halves(experts, other_TF)[-1].neg_()
    with torch.no_grad():
        return torch.equal(apply(other_TF), -apply(row_TF))
