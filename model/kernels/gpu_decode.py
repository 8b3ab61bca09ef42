"""Experts on a GPU for few tokens (Triton): weights are read once, and nothing is sorted.

T = tokens, K = experts per token, C = T * K choices, E = experts, D = model dim, F = inner width,
X = inputs of a product, Y = its outputs. What an expert computes lies at the first choice of it.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from model.kernels.gpu_products import Tile, accumulated, precision

MOST_TOKENS, MOST_CHOICES = 64, 512
ROWS = 16  # the least that matrix units take
FLOAT_TILE = Tile(ROWS, 64, 64, 4, 5)
INT8_TILE = Tile(ROWS, 64, 128, 4, 4)
NARROW_TILE, NARROW_UNTIL = Tile(ROWS, 32, 256, 4, 3), 4  # of INT8, for so many tokens
BLOCK = 1_024


def few(expert_ids_TK: Tensor) -> bool:
    return len(expert_ids_TK) <= MOST_TOKENS and 0 < expert_ids_TK.numel() <= MOST_CHOICES


def decoded(
    x_TD: Tensor,
    expert_ids_TK: Tensor,
    weights_TK: Tensor,
    gate_up_EDF: Tensor,
    down_EFD: Tensor,
    *,
    scales: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """[T, D], without gradients: what the chosen experts give, weighted and summed in float32.

    `scales`: of INT8 weights, [E, 2 F] and [E, D]. Ids below 0 add nothing.
    """
    expert_ids_TK = expert_ids_TK.contiguous()
    (tokens, dim), top_k = x_TD.shape, expert_ids_TK.shape[1]
    choices, width = tokens * top_k, down_EFD.shape[1]
    hidden_CTF = x_TD.new_empty((choices, tokens, width))
    added_CTD = x_TD.new_empty((choices, tokens, dim))
    sum_TD = torch.empty_like(x_TD, memory_format=torch.contiguous_format)
    gate_up_scale, down_scale = scales or (None, None)
    up = down = FLOAT_TILE if scales is None else INT8_TILE
    if scales is not None and tokens <= NARROW_UNTIL:
        up = NARROW_TILE
    given = expert_ids_TK, weights_TK.contiguous()
    multiply(x_TD.contiguous(), given, gate_up_EDF, gate_up_scale, hidden_CTF, tile=up, gated=True)
    multiply(hidden_CTF, given, down_EFD, down_scale, added_CTD, tile=down, gated=False)
    block = min(BLOCK, triton.next_power_of_2(dim))
    sum_kernel[(tokens, triton.cdiv(dim, block))](
        added_CTD,
        expert_ids_TK,
        sum_TD,
        tokens,
        top_k,
        dim,
        WIDE=max(16, triton.next_power_of_2(choices)),
        BLOCK=block,
    )
    return sum_TD


def multiply(
    rows: Tensor,
    given: tuple[Tensor, Tensor],
    experts_EXY: Tensor,
    scale_EY: Tensor | None,
    out_CTY: Tensor,
    *,
    tile: Tile,
    gated: bool,
) -> None:
    """Into `out_CTY`, rows of tokens that chose the expert. `gated`: `rows` are the tokens'."""
    expert_ids_TK, weights_TK = given
    tokens, top_k = expert_ids_TK.shape
    choices, _, outputs = out_CTY.shape
    wide = max(ROWS, triton.next_power_of_2(tokens))
    decode_kernel[(choices * triton.cdiv(outputs, tile.columns), wide // ROWS)](
        rows,
        expert_ids_TK,
        experts_EXY,
        scale_EY,
        weights_TK,
        out_CTY,
        tokens,
        top_k,
        choices,
        rows.shape[-1],
        outputs,
        *experts_EXY.stride(),
        TOKENS=wide,
        WIDE=max(16, triton.next_power_of_2(choices)),
        GATED=gated,
        EVEN=rows.shape[-1] % tile.depth == 0,
        PRECISION=precision(),
        ROWS=ROWS,
        COLUMNS=tile.columns,
        DEPTH=tile.depth,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )


@triton.jit
def decode_kernel(
    rows_ptr,
    ids_ptr,
    experts_ptr,
    scale_ptr,  # None: weights are no INT8
    weights_ptr,
    out_ptr,
    T,
    K,
    C,
    X,
    Y,
    stride_e,
    stride_x,
    stride_y,
    TOKENS: tl.constexpr,
    WIDE: tl.constexpr,
    GATED: tl.constexpr,
    EVEN: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    columns = tl.cdiv(Y, COLUMNS)
    place = tl.program_id(0) // columns
    c = tl.arange(0, WIDE)
    expert = tl.load(ids_ptr + place)
    same = tl.load(ids_ptr + c, c < C, other=-1) == expert
    if (expert < 0) | (tl.min(tl.where(same, c, WIDE), 0) < place):
        return
    every = tl.arange(0, TOKENS)
    weight = tl.zeros((TOKENS,), tl.float32)
    chose = tl.zeros((TOKENS,), tl.int32)
    for k in range(K):
        mine = tl.load(ids_ptr + every * K + k, every < T, other=-1) == expert
        chose = tl.where(mine, 1, chose)
        if GATED:
            weight += tl.load(weights_ptr + every * K + k, mine, other=0.0).to(tl.float32)
    if tl.sum(chose, 0) <= tl.program_id(1) * ROWS:
        return
    # the tokens that chose it, ROWS of them
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    is_row = (row[:, None] == (tl.cumsum(chose, 0) - 1)[None, :]) & (chose[None, :] == 1)
    t = tl.sum(tl.where(is_row, every[None, :], 0), 1)
    here = tl.sum(is_row.to(tl.int32), 1) == 1
    at = (t if GATED else place * T + t).to(tl.int64)
    y = (tl.program_id(0) % columns) * COLUMNS + tl.arange(0, COLUMNS)
    known = y < Y
    weight_ptrs = experts_ptr + expert.to(tl.int64) * stride_e + y * stride_y
    total, up = accumulated(
        rows_ptr + at * X,
        here,
        weight_ptrs,
        weight_ptrs + Y * stride_y,
        known,
        X,
        stride_x,
        GATED,
        EVEN,
        PRECISION,
        ROWS,
        COLUMNS,
        DEPTH,
    )
    kind = out_ptr.dtype.element_ty
    if scale_ptr is not None:
        scale_ptrs = scale_ptr + expert * (2 * Y if GATED else Y) + y
        total *= tl.load(scale_ptrs, known, other=0.0).to(tl.float32)[None, :]
        if GATED:
            up *= tl.load(scale_ptrs + Y, known, other=0.0).to(tl.float32)[None, :]
    if GATED:
        gate = total.to(kind).to(tl.float32)
        total = gate * tl.sigmoid(gate) * up.to(kind).to(tl.float32)
        total *= tl.sum(tl.where(is_row, weight[None, :], 0.0), 1)[:, None]
    cell = (place * T + t)[:, None].to(tl.int64) * Y + y[None, :]
    tl.store(out_ptr + cell, total.to(kind), here[:, None] & known[None, :])


@triton.jit
def sum_kernel(added_ptr, ids_ptr, sum_ptr, T, K, D, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """A token's sum over its experts, once over each: equal choices are weighed together."""
    t = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    c = tl.arange(0, WIDE)
    ids = tl.load(ids_ptr + c, c < T * K, other=-1)
    total = tl.zeros((BLOCK,), tl.float32)
    for k in range(K):
        expert = tl.load(ids_ptr + t * K + k)
        same = ids == expert
        place = tl.min(tl.where(same, c, WIDE), 0)
        before = tl.sum((same & (c >= t * K) & (c < t * K + k)).to(tl.int32), 0)
        if (expert >= 0) & (before == 0):
            cell = (place * T + t).to(tl.int64) * D + d
            total += tl.load(added_ptr + cell, d < D, other=0.0).to(tl.float32)
    tl.store(sum_ptr + t.to(tl.int64) * D + d, total.to(sum_ptr.dtype.element_ty), d < D)
