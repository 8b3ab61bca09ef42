"""Large tensors on a CPU in memory that is used again: the system clears every page that it hands
out, which is a good part of a backward."""

import weakref
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMALL = 2**20  # bytes; the allocator of torch keeps what is smaller
KEPT = 2**29  # bytes that may wait to be used again

Memory = NDArray[np.uint8]

_waiting: dict[int, list[Memory]] = {}  # by size


def fresh(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """As torch.empty."""
    size = prod(shape) * dtype.itemsize
    if size < SMALL:
        return torch.empty(shape, dtype=dtype)
    memory = _taken(size)
    lent = memory[:size]  # lives as long as the tensor, its views and what is saved of it
    weakref.finalize(lent, _given_back, memory).atexit = False
    return torch.from_numpy(lent).view(dtype).view(shape)


def _taken(size: int) -> Memory:
    step = 2 ** (size.bit_length() - 4)  # few sizes, none an eighth too large
    size = -(-size // step) * step
    try:
        return _waiting[size].pop()
    except LookupError:
        return np.empty(size, np.uint8)  # in large pages, where the system has them


def _given_back(memory: Memory) -> None:
    _waiting.setdefault(len(memory), []).append(memory)
    if sum(size * len(those) for size, those in list(_waiting.items())) > KEPT:
        _waiting.clear()
