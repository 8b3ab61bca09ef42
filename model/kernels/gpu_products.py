"""Products of experts on a GPU (Triton), where rows lie in the order of the experts or are fetched
from their tokens, and where the activation follows at once.

T = tokens, K = experts per token, C = T * K choices, E = experts, X = inputs of a product, Y = its
outputs.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


class Tile(NamedTuple):
    """What one program computes: rows x columns, `depth` inputs at a time."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int


def precision() -> str:
    """Of float32 products, as torch was told; three products of tf32 are as good as float32."""
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def product(
    rows: Tensor,
    experts_EXY: Tensor,
    ends_E: Tensor,
    *,
    tile: Tile,
    choice_C: Tensor | None = None,
    top_k: int = 1,
    weights_TK: Tensor | None = None,
    kept_CY: Tensor | None = None,
) -> Tensor:
    """[C, Y]: each row by its expert's weights.

    `choice_C`: whose token each row is, `rows` being [T, X]. With `weights_TK` [C, Y / 2]:
    silu(first half) * second half * weight; `kept_CY` gets what was activated.
    """
    gated = weights_TK is not None
    choices = len(rows) if choice_C is None else len(choice_C)
    num_experts, inputs, outputs = experts_EXY.shape
    outputs = outputs // 2 if gated else outputs
    out_CY = rows.new_empty((choices, outputs))
    tiles = min(choices, choices // tile.rows + num_experts)
    product_kernel[(tiles * triton.cdiv(outputs, tile.columns),)](
        rows,
        choice_C,
        ends_E,
        experts_EXY,
        weights_TK,
        kept_CY,
        out_CY,
        num_experts,
        top_k,
        inputs,
        outputs,
        *experts_EXY.stride(),
        WIDE=triton.next_power_of_2(num_experts),
        GATED=gated,
        EVEN=inputs % tile.depth == 0,
        PRECISION=precision(),
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        DEPTH=tile.depth,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out_CY


def correlated(
    before: Tensor,
    after: Tensor,
    ends_E: Tensor,
    *,
    tile: Tile,
    choice_C: Tensor,
    top_k: int,
    fetch: str,
) -> Tensor:
    """[E, X, Y]: the gradient of the weights that led from rows [C, X] to rows [C, Y].

    `fetch`: which of them, "before" or "after", lie by token.
    """
    num_experts, inputs, outputs = len(ends_E), before.shape[1], after.shape[1]
    out_EXY = before.new_empty((num_experts, inputs, outputs))
    grid = triton.cdiv(inputs, tile.rows) * triton.cdiv(outputs, tile.columns)
    correlate_kernel[(grid, num_experts)](
        before,
        after,
        choice_C,
        ends_E,
        out_EXY,
        top_k,
        inputs,
        outputs,
        BEFORE=fetch == "before",
        PRECISION=precision(),
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        DEPTH=tile.depth,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out_EXY


@triton.jit
def accumulated(
    row_ptrs,  # of each row's first input
    here,  # rows that are there
    weight_ptrs,  # of each column's first weight
    up_ptrs,  # the same of the second half
    known,  # columns that are there
    X,
    stride_x,
    GATED: tl.constexpr,
    EVEN: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    up = tl.zeros((ROWS, COLUMNS), tl.float32)
    depth = tl.arange(0, DEPTH)
    for start in range(0, X, DEPTH):
        x = start + depth
        if EVEN:
            rows = tl.load(row_ptrs[:, None] + x[None, :], here[:, None], other=0.0)
            inside = known[None, :]
        else:
            rows = tl.load(
                row_ptrs[:, None] + x[None, :], here[:, None] & (x < X)[None, :], other=0.0
            )
            inside = known[None, :] & (x < X)[:, None]
        at = x[:, None] * stride_x
        weights = tl.load(weight_ptrs[None, :] + at, inside, other=0.0).to(rows.dtype)
        total = tl.dot(rows, weights, total, input_precision=PRECISION)
        if GATED:
            weights = tl.load(up_ptrs[None, :] + at, inside, other=0.0).to(rows.dtype)
            up = tl.dot(rows, weights, up, input_precision=PRECISION)
    return total, up


@triton.jit
def product_kernel(
    rows_ptr,
    choice_ptr,  # None: rows lie in the order of the experts
    ends_ptr,
    experts_ptr,
    weights_ptr,
    kept_ptr,
    out_ptr,
    E,
    K,
    X,
    Y,
    stride_e,
    stride_x,
    stride_y,
    WIDE: tl.constexpr,
    GATED: tl.constexpr,
    EVEN: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    columns = tl.cdiv(Y, COLUMNS)
    tile = tl.program_id(0) // columns
    e = tl.arange(0, WIDE)
    ends = tl.load(ends_ptr + e, e < E, other=0)
    starts = tl.load(ends_ptr + e - 1, (e > 0) & (e < E), other=0)
    tiles = (ends - starts + ROWS - 1) // ROWS
    until = tl.cumsum(tiles, 0)
    expert = tl.sum((until <= tile).to(tl.int32), 0)
    if expert >= E:
        return
    mine = e == expert
    end = tl.sum(tl.where(mine, ends, 0), 0)
    before = tl.sum(tl.where(mine, until - tiles, 0), 0)
    first = tl.sum(tl.where(mine, starts, 0), 0) + (tile - before) * ROWS
    row = first + tl.arange(0, ROWS)
    here = row < end
    at = row.to(tl.int64)
    if choice_ptr is not None:
        choice = tl.load(choice_ptr + row, here, other=0)
        at = (choice // K).to(tl.int64)
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
    wide = 2 * Y if GATED else Y
    inside = here[:, None] & known[None, :]
    cell = row[:, None].to(tl.int64) * wide + y[None, :]
    if GATED:
        gate = total.to(kind)
        if kept_ptr is not None:
            tl.store(kept_ptr + cell, gate, inside)
            tl.store(kept_ptr + cell + Y, up.to(kind), inside)
        gate = gate.to(tl.float32)
        total = gate * tl.sigmoid(gate) * up.to(kind).to(tl.float32)
        weight = tl.load(weights_ptr + choice, here, other=0.0)
        total *= weight.to(tl.float32)[:, None]
        cell = row[:, None].to(tl.int64) * Y + y[None, :]
    tl.store(out_ptr + cell, total.to(kind), inside)


@triton.jit
def correlate_kernel(
    before_ptr,
    after_ptr,
    choice_ptr,
    ends_ptr,
    out_ptr,
    K,
    X,
    Y,
    BEFORE: tl.constexpr,  # it is `before` that lies by token
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    expert = tl.program_id(1)
    columns = tl.cdiv(Y, COLUMNS)
    x = (tl.program_id(0) // columns) * ROWS + tl.arange(0, ROWS)
    y = (tl.program_id(0) % columns) * COLUMNS + tl.arange(0, COLUMNS)
    start = tl.load(ends_ptr + expert - 1, expert > 0, other=0)
    end = tl.load(ends_ptr + expert)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(start, end, DEPTH):
        row = first + tl.arange(0, DEPTH)
        here = row < end
        token = (tl.load(choice_ptr + row, here, other=0) // K).to(tl.int64)
        before_at = token if BEFORE else row.to(tl.int64)
        after_at = row.to(tl.int64) if BEFORE else token
        before = tl.load(
            before_ptr + before_at[:, None] * X + x[None, :],
            here[:, None] & (x < X)[None, :],
            other=0.0,
        )
        after = tl.load(
            after_ptr + after_at[:, None] * Y + y[None, :],
            here[:, None] & (y < Y)[None, :],
            other=0.0,
        )
        total = tl.dot(tl.trans(before), after, total, input_precision=PRECISION)
    cell = expert.to(tl.int64) * X * Y + x[:, None].to(tl.int64) * Y + y[None, :]
    inside = (x < X)[:, None] & (y < Y)[None, :]
    tl.store(out_ptr + cell, total.to(out_ptr.dtype.element_ty), inside)
