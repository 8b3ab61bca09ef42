"""Products with INT8 weights on a CPU, for rows that are few: a weight is read once, as one byte.

Sums are in float32, so that a row gives what it gives with the float32 numbers that INT8 stands
for. C = rows, sorted by expert, E = experts, X = inputs, Y = outputs, B = bounds of their rows.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor

from model.kernels import cpu_experts
from model.kernels.cpu_threads import in_threads
from model.kernels.int8 import Int8

FEW = 8  # rows of an expert, up to which this is the quickest
ALONE = 2**22  # multiplications that another thread is not worth


def routed(
    x_TD: Tensor,
    expert_ids_TK: Tensor,
    weights_TK: Tensor,
    gate_up: Int8,
    down: Int8,
    *,
    dtype: torch.dtype,
) -> Tensor:
    """[T, D]: as cpu_experts.routed, without gradients."""
    num_experts, top_k = down.shape[0], expert_ids_TK.shape[1]
    if expert_ids_TK.numel() > FEW * num_experts:
        return cpu_experts.routed(x_TD, expert_ids_TK, weights_TK, gate_up, down, dtype=dtype)
    ids = expert_ids_TK.reshape(-1).tolist()
    order = sorted((c for c, e in enumerate(ids) if 0 <= e < num_experts), key=ids.__getitem__)
    experts = Counter(ids[choice] for choice in order)
    if len(order) > FEW * len(experts):
        return cpu_experts.routed(x_TD, expert_ids_TK, weights_TK, gate_up, down, dtype=dtype)
    rows_CD = x_TD.float()[[choice // top_k for choice in order]]
    gate_CF, up_CF = multiplied(rows_CD, experts, gate_up).chunk(2, dim=-1)
    added_CD = multiplied(F.silu(gate_CF).mul_(up_CF), experts, down)
    added_CD.mul_(weights_TK.reshape(-1, 1)[order])
    place = [len(order)] * len(ids)  # of each choice among the rows; the last adds nothing
    for row, choice in enumerate(order):
        place[choice] = row
    place_TK = torch.tensor(place, dtype=torch.long).view(expert_ids_TK.shape)
    return F.embedding_bag(place_TK, F.pad(added_CD, (0, 0, 0, 1)), mode="sum")


def multiplied(rows_CX: Tensor, experts: Mapping[int, int], weights: Int8) -> Tensor:
    """[C, Y]: as many rows of each of `experts`, in their order, by its weights."""
    outputs = weights.shape[2]
    out_CY = torch.empty(len(rows_CX), outputs)
    tensors = rows_CX.contiguous(), weights.whole_EYX, weights.scale_EY.float(), out_CY
    arrays = (tensor.detach().numpy() for tensor in tensors)
    given: Any = (np.array(list(experts), np.int64), np.cumsum([0, *experts.values()]), *arrays)
    parts = 1
    if rows_CX.numel() * outputs > ALONE:
        parts = torch.get_num_threads()
    edges = [outputs * part // parts for part in range(parts + 1)]

    def work(spans: Iterator[tuple[int, int]]) -> None:
        for span in spans:
            _fill(*given, *span)  # type: ignore[call-arg]

    in_threads(work, list(pairwise(edges)))
    return out_CY


@njit(nogil=True, fastmath={"reassoc", "contract", "nsz"}, cache=True)
def _fill(
    experts: np.ndarray,
    bounds_B: np.ndarray,
    rows_CX: np.ndarray,
    whole_EYX: np.ndarray,
    scale_EY: np.ndarray,
    out_CY: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Columns `first` to `last`. NaN and infinite numbers stay what they are."""
    inputs = rows_CX.shape[1]
    for place in range(len(experts)):
        whole_YX, scale_Y = whole_EYX[experts[place]], scale_EY[experts[place]]
        for y in range(first, last):
            whole_X = whole_YX[y]
            for c in range(bounds_B[place], bounds_B[place + 1]):
                row_X, total = rows_CX[c], np.float32(0)
                for x in range(inputs):
                    total += row_X[x] * np.float32(whole_X[x])
                out_CY[c, y] = total * scale_Y[y]
