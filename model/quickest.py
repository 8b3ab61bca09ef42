"""Which way of computing routed experts is the quickest, by what a computation costs.

Decided by shape, type and device alone, so that the same shape is always computed the same way.
The numbers are fits to benchmarks/results/layer_*.md (benchmarks/bench_experts.py).
"""

from dataclasses import dataclass
from enum import Enum, auto
from math import gcd

import torch

STRIDE = 16  # bytes that F.grouped_mm wants rows to be a multiple of

# of a GPU: operations and bytes a second; seconds of a row; what takes a narrow expert's time
FLOPS, BYTES = 6e14, 4e12
ROW, LEAST_WIDTH = 7e-10, 64
ALL_FLOPS, ALL_BYTES = 5.5e14, 3.5e12
LAUNCHES, ALL_LAUNCHES = 4.5e-4, 2.7e-4  # seconds that a processor takes to ask for it

# of a CPU
GROUPS_FROM = 1536  # choices
GRADIENT_BYTES = 2**24  # of the gradient of `down`, which groups write more quickly
ALL_FROM, ALL_WIDTH = 0.75, 128  # share chosen, and the widest experts in float32


class Way(Enum):
    GROUPS = auto()  # of sorted rows, in threads
    SORTED = auto()  # rows, all of them at once
    ALL = auto()  # every expert computes every token


@dataclass(frozen=True, slots=True)
class Shape:
    tokens: int
    top_k: int
    num_experts: int  # that are stored
    width: int
    dim: int

    @property
    def choices(self) -> int:
        return self.tokens * self.top_k


def quickest_on_cpu(shape: Shape, dtype: torch.dtype, *, differentiable: bool) -> Way:
    if dtype.itemsize * gcd(shape.width, shape.dim) % STRIDE:
        return Way.GROUPS
    narrow = shape.width <= ALL_WIDTH or dtype != torch.float32
    if narrow and shape.top_k >= ALL_FROM * shape.num_experts:
        return Way.ALL
    written = shape.num_experts * shape.width * shape.dim * dtype.itemsize
    if shape.choices >= GROUPS_FROM or (differentiable and written >= GRADIENT_BYTES):
        return Way.GROUPS
    return Way.SORTED


def quickest_elsewhere(shape: Shape, dtype: torch.dtype, *, launched: bool) -> Way:
    """On a GPU, or where a graph is compiled. `launched`: from Python, one by one."""
    wide = max(shape.width, LEAST_WIDTH)
    row_bytes = (3 * shape.dim + 4 * shape.width) * dtype.itemsize
    row = 6 * shape.dim * wide / FLOPS + row_bytes / BYTES + ROW
    every = 6 * shape.dim * shape.width / ALL_FLOPS + 8 * shape.width * dtype.itemsize / ALL_BYTES
    laid_out = 6 * shape.num_experts * shape.dim * shape.width * dtype.itemsize / ALL_BYTES
    in_order = shape.choices * row
    all_of_them = shape.tokens * shape.num_experts * every + laid_out
    if launched:
        in_order, all_of_them = max(in_order, LAUNCHES), max(all_of_them, ALL_LAUNCHES)
    return Way.ALL if all_of_them < in_order else Way.SORTED
