"""Weights of experts as INT8, a scale an expert and output; what stands in the file stays in
memory.

E = experts, X = inputs of a product, Y = its outputs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LIMIT = 127  # -128 is left out: the scale is the same on both sides


def as_int8(tensor: Tensor, *, inputs: int) -> tuple[Tensor, Tensor]:
    """(whole numbers, scale): a scale an output channel, over the dimension of the `inputs`."""
    scale = (tensor.float().abs().amax(dim=inputs, keepdim=True) / LIMIT).bfloat16()
    whole = tensor.float() / scale.float().clamp(min=torch.finfo(torch.float32).tiny)
    return whole.round().clamp(-LIMIT, LIMIT).to(torch.int8), scale


@dataclass(frozen=True, slots=True)
class Int8:
    whole_EYX: Tensor  # inputs beside each other in memory
    scale_EY: Tensor

    @property
    def shape(self) -> torch.Size:
        """[E, X, Y], as of the numbers."""
        return self.whole_EYX.mT.shape

    def numbers(self, which: int | slice = slice(None), *, dtype: torch.dtype) -> Tensor:
        """[..., X, Y] that they stand for, those of one expert or of some."""
        whole = self.whole_EYX[which].float()
        return whole.mul_(self.scale_EY[which].float().unsqueeze(-1)).to(dtype).mT
