"""Weights of the experts of transformers, whichever way round they are stored.

E = experts, F = inner neurons of an expert, D = model dim, P = parts of a neuron.
"""

import numpy as np
import torch
from torch import Tensor, nn


def neurons(experts: nn.Module, *, name: str) -> np.ndarray:
    """[E, F, P, D]: gate row, up row, down column; without the first where experts have no gate.

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
    if getattr(experts, "is_transposed", False):
        first_EFD, down_EDF = first_EFD.transpose(1, 2), down_EDF.transpose(1, 2)
    parts = [first_EFD]
    if getattr(experts, "has_gate", True):
        half = first_EFD.shape[1] // 2
        interleaved = not getattr(experts, "is_concatenated", True)
        parts = (
            [first_EFD[:, ::2], first_EFD[:, 1::2]]
            if interleaved
            else [first_EFD[:, :half], first_EFD[:, half:]]
        )
    number = len(down_EDF)  # of experts that have weights: identity experts have none
    return torch.stack([*(part[:number] for part in parts), down_EDF.transpose(1, 2)], 2).numpy()
