"""Experts on a GPU: grouped products, and one pass of memory (Triton) for all that is between them.

T = tokens, K = experts per token, C = T * K choices, D = model dim, E = experts, F = inner width.
Rows are what one expert computes of one token, in the order of the experts.
"""

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.gpu_routing import ordered

BLOCK = 2_048  # most elements of a row at a time


class RoutedExperts(torch.autograd.Function):
    """[T, D] in the type of `x_TD`: what the chosen experts give, weighted and summed in float32.

    Products are in the type of the experts' weights. Ids in 0 ... E - 1.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_TD: Tensor,
        expert_ids_TK: Tensor,
        weights_TK: Tensor,
        gate_up_EDF: Tensor,
        down_EFD: Tensor,
    ) -> Tensor:
        place_TK, choice_C, ends_E = ordered(expert_ids_TK, num_experts=len(down_EFD))
        weight_C = weights_TK.reshape(-1)[choice_C].float()
        rows_CD = spread(x_TD, place_TK, dtype=down_EFD.dtype)
        gate_up_CF = F.grouped_mm(rows_CD, gate_up_EDF, offs=ends_E)
        hidden_CF = activated(gate_up_CF, weight_C)
        ctx.save_for_backward(
            rows_CD, gate_up_CF, hidden_CF, weight_C, place_TK, ends_E, gate_up_EDF, down_EFD
        )
        ctx.types = x_TD.dtype, weights_TK.dtype
        output_CD = F.grouped_mm(hidden_CF, down_EFD, offs=ends_E)
        return combined(output_CD, place_TK, dtype=x_TD.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output_TD: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        rows_CD, gate_up_CF, hidden_CF, weight_C, place_TK, ends_E, gate_up_EDF, down_EFD = saved
        d_output_CD = spread(d_output_TD, place_TK, dtype=down_EFD.dtype)
        d_hidden_CF = F.grouped_mm(d_output_CD, down_EFD.transpose(1, 2), offs=ends_E)
        d_down_EFD = F.grouped_mm(hidden_CF.t(), d_output_CD, offs=ends_E)
        d_gate_up_CF, d_weight_C = activated_backward(gate_up_CF, d_hidden_CF, weight_C)
        d_rows_CD = F.grouped_mm(d_gate_up_CF, gate_up_EDF.transpose(1, 2), offs=ends_E)
        d_gate_up_EDF = F.grouped_mm(rows_CD.t(), d_gate_up_CF, offs=ends_E)
        x_type, weights_type = ctx.types
        d_x_TD = combined(d_rows_CD, place_TK, dtype=x_type)
        assert d_weight_C is not None
        return d_x_TD, None, d_weight_C[place_TK].to(weights_type), d_gate_up_EDF, d_down_EFD


class Activated(torch.autograd.Function):
    """silu(gate) * up, of [..., 2 F]."""

    @staticmethod
    def forward(ctx: Any, gate_up_TF: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up_TF)
        return activated(gate_up_TF.flatten(0, -2)).unflatten(0, gate_up_TF.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_hidden_TF: Tensor) -> Tensor:
        (gate_up_TF,) = ctx.saved_tensors
        rows = gate_up_TF.flatten(0, -2), d_hidden_TF.flatten(0, -2).contiguous()
        return activated_backward(*rows)[0].view_as(gate_up_TF)


def spread(x_TD: Tensor, place_TK: Tensor, *, dtype: torch.dtype) -> Tensor:
    """[C, D]: every token's row at each of its places."""
    x_TD = x_TD.contiguous()
    (tokens, dim), top_k = x_TD.shape, place_TK.shape[1]
    rows_CD = x_TD.new_empty((tokens * top_k, dim), dtype=dtype)
    block = min(BLOCK, triton.next_power_of_2(dim))
    spread_kernel[(tokens, triton.cdiv(dim, block))](
        x_TD, place_TK, rows_CD, D=dim, K=top_k, BLOCK=block
    )
    return rows_CD


def combined(rows_CD: Tensor, place_TK: Tensor, *, dtype: torch.dtype) -> Tensor:
    """[T, D]: the sum of a token's rows, in float32."""
    (tokens, top_k), dim = place_TK.shape, rows_CD.shape[1]
    sum_TD = rows_CD.new_empty((tokens, dim), dtype=dtype)
    block = min(BLOCK, triton.next_power_of_2(dim))
    combine_kernel[(tokens, triton.cdiv(dim, block))](
        rows_CD, place_TK, sum_TD, D=dim, K=top_k, BLOCK=block
    )
    return sum_TD


def activated(gate_up_CF: Tensor, weight_C: Tensor | None = None) -> Tensor:
    """[C, F]: silu(gate) * up * weight."""
    choices, width = len(gate_up_CF), gate_up_CF.shape[1] // 2
    hidden_CF = gate_up_CF.new_empty((choices, width))
    block = min(BLOCK, triton.next_power_of_2(width))
    activate_kernel[(choices,)](gate_up_CF, weight_C, hidden_CF, F=width, BLOCK=block)
    return hidden_CF


def activated_backward(
    gate_up_CF: Tensor, d_hidden_CF: Tensor, weight_C: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Gradients of `activated`: those of the weights in float32."""
    choices, width = d_hidden_CF.shape
    d_gate_up_CF = torch.empty_like(gate_up_CF)
    d_weight_C = None if weight_C is None else torch.empty_like(weight_C)
    block = min(BLOCK, triton.next_power_of_2(width))
    activate_backward_kernel[(choices,)](
        gate_up_CF, d_hidden_CF, weight_C, d_gate_up_CF, d_weight_C, F=width, BLOCK=block
    )
    return d_gate_up_CF, d_weight_C


@triton.jit
def spread_kernel(
    x_ptr, place_ptr, rows_ptr, D: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr
):
    t = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = tl.load(x_ptr + t * D + d, d < D)
    for k in range(K):
        place = tl.load(place_ptr + t * K + k).to(tl.int64)
        tl.store(rows_ptr + place * D + d, row.to(rows_ptr.dtype.element_ty), d < D)


@triton.jit
def combine_kernel(
    rows_ptr, place_ptr, sum_ptr, D: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr
):
    t = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for k in range(K):
        place = tl.load(place_ptr + t * K + k).to(tl.int64)
        total += tl.load(rows_ptr + place * D + d, d < D, other=0.0).to(tl.float32)
    tl.store(sum_ptr + t * D + d, total.to(sum_ptr.dtype.element_ty), d < D)


@triton.jit
def activate_kernel(
    gate_up_ptr,
    weight_ptr,  # None: all 1
    hidden_ptr,
    F: tl.constexpr,
    BLOCK: tl.constexpr,
):
    c = tl.program_id(0).to(tl.int64)
    weight = 1.0 if weight_ptr is None else tl.load(weight_ptr + c)
    for start in range(0, F, BLOCK):
        f = start + tl.arange(0, BLOCK)
        gate = tl.load(gate_up_ptr + c * 2 * F + f, f < F, other=0.0).to(tl.float32)
        up = tl.load(gate_up_ptr + c * 2 * F + F + f, f < F, other=0.0).to(tl.float32)
        hidden = gate * tl.sigmoid(gate) * up * weight
        tl.store(hidden_ptr + c * F + f, hidden.to(hidden_ptr.dtype.element_ty), f < F)


@triton.jit
def activate_backward_kernel(
    gate_up_ptr,
    d_hidden_ptr,
    weight_ptr,  # None: all 1
    d_gate_up_ptr,
    d_weight_ptr,
    F: tl.constexpr,
    BLOCK: tl.constexpr,
):
    c = tl.program_id(0).to(tl.int64)
    weight = 1.0 if weight_ptr is None else tl.load(weight_ptr + c)
    d_weight = 0.0
    kind = d_gate_up_ptr.dtype.element_ty
    for start in range(0, F, BLOCK):
        f = start + tl.arange(0, BLOCK)
        at = c * 2 * F + f
        gate = tl.load(gate_up_ptr + at, f < F, other=0.0).to(tl.float32)
        up = tl.load(gate_up_ptr + at + F, f < F, other=0.0).to(tl.float32)
        d_hidden = tl.load(d_hidden_ptr + c * F + f, f < F, other=0.0).to(tl.float32)
        share = tl.sigmoid(gate)
        silu = gate * share
        d_weight += tl.sum(d_hidden * silu * up)
        d_gate = d_hidden * weight * up * share * (1 + gate * (1 - share))
        tl.store(d_gate_up_ptr + at, d_gate.to(kind), f < F)
        tl.store(d_gate_up_ptr + at + F, (d_hidden * weight * silu).to(kind), f < F)
    if d_weight_ptr is not None:
        tl.store(d_weight_ptr + c, d_weight)
