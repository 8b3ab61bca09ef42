"""Routed experts on a GPU by our own products (Triton): tokens are fetched while they are
multiplied, the activation follows at once, and an expert may have few rows.

T = tokens, K = experts per token, C = T * K choices, D = model dim, E = experts, F = inner width,
X = inputs of a product, Y = its outputs.
"""

from math import gcd, prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.gpu_experts import activated_backward, combined, spread
from model.kernels.gpu_products import Tile, correlated, precision, product
from model.kernels.gpu_routing import Order, ordered

STRIDE = 16  # bytes that F.grouped_mm wants rows to be a multiple of
ROWS = 256  # of an expert, from which torch's grouped products are as quick, of narrow types
GRADIENT_ROWS = 96  # the same of gradients of weights
# of float32, for which torch makes a call an expert: multiplications that are worth it
CALL = {"tf32": 2**29, "tf32x3": 2**27}
GRADIENT_CALL = 2**27


def quicker(choices: int, sizes: tuple[int, ...], dtype: torch.dtype) -> bool:
    """`sizes`: E, F, D."""
    num_experts, width, dim = sizes
    rows = choices / num_experts
    if gcd(width, dim) * dtype.itemsize % STRIDE:
        return True
    if dtype == torch.float32:
        return rows * width * dim < CALL[precision()]
    return rows < ROWS


def tile(rows: float, like: Tensor, *, gated: bool = False) -> Tile:
    """For experts of so many rows each, in products of the type of `like`."""
    if like.dtype == torch.float32:
        if gated:
            return Tile(32, 64, 32, 4, 3)
        return Tile(16, 64, 64, 4, 3) if rows < 24 else Tile(64, 128, 32, 4, 3)
    return Tile(64, 64, 64, 4, 4) if gated else Tile(64, 128, 64, 4, 4)


class FusedExperts(torch.autograd.Function):
    """As RoutedExperts; `differentiable`: a backward follows."""

    @staticmethod
    def forward(
        ctx: Any,
        x_TD: Tensor,
        expert_ids_TK: Tensor,
        weights_TK: Tensor,
        gate_up_EDF: Tensor,
        down_EFD: Tensor,
        differentiable: bool,
    ) -> Tensor:
        order = ordered(expert_ids_TK, num_experts=len(down_EFD))
        rows_TD = x_TD.to(down_EFD.dtype).contiguous()
        weights_TK = weights_TK.contiguous()
        rows, top_k = expert_ids_TK.numel() / len(down_EFD), expert_ids_TK.shape[1]
        kept_CF = None
        if differentiable:
            kept_CF = rows_TD.new_empty((expert_ids_TK.numel(), gate_up_EDF.shape[2]))
        hidden_CF = product(
            rows_TD,
            gate_up_EDF,
            order.ends_E,
            tile=tile(rows, rows_TD, gated=True),
            choice_C=order.choice_C,
            top_k=top_k,
            weights_TK=weights_TK,
            kept_CY=kept_CF,
        )
        output_CD = product(hidden_CF, down_EFD, order.ends_E, tile=tile(rows, hidden_CF))
        if kept_CF is not None:
            saved = rows_TD, kept_CF, hidden_CF, weights_TK, gate_up_EDF, down_EFD
            ctx.save_for_backward(*saved, *order)
            ctx.types = x_TD.dtype, weights_TK.dtype
        return combined(output_CD, order.place_TK, dtype=x_TD.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output_TD: Tensor) -> tuple[Tensor | None, ...]:
        rows_TD, kept_CF, hidden_CF, weights_TK, gate_up_EDF, down_EFD, *order = ctx.saved_tensors
        order = Order(*order)
        rows = len(hidden_CF) / len(down_EFD)
        d_output_TD = d_output_TD.to(rows_TD.dtype).contiguous()
        d_hidden_CF = product(
            d_output_TD,
            down_EFD.transpose(1, 2),
            order.ends_E,
            tile=tile(rows, rows_TD),
            choice_C=order.choice_C,
            top_k=weights_TK.shape[1],
        )
        d_down_EFD = gradient(hidden_CF, d_output_TD, order, fetch="after")
        weight_C = weights_TK.reshape(-1)[order.choice_C].float()
        d_gate_up_CF, d_weight_C = activated_backward(kept_CF, d_hidden_CF, weight_C)
        d_rows_CD = product(
            d_gate_up_CF,
            gate_up_EDF.transpose(1, 2),
            order.ends_E,
            tile=tile(rows, d_gate_up_CF),
        )
        d_gate_up_EDF = gradient(rows_TD, d_gate_up_CF, order, fetch="before")
        x_type, weights_type = ctx.types
        d_x_TD = combined(d_rows_CD, order.place_TK, dtype=x_type)
        assert d_weight_C is not None
        d_weights_TK = d_weight_C[order.place_TK].to(weights_type)
        return d_x_TD, None, d_weights_TK, d_gate_up_EDF, d_down_EFD, None


def gradient(before: Tensor, after: Tensor, order: Order, *, fetch: str) -> Tensor:
    """Of the weights that led from the one to the other. `fetch`: which of them lies by token."""
    rows = order.choice_C.numel() / len(order.ends_E)
    widths = before.shape[1], after.shape[1]
    many = rows >= GRADIENT_ROWS
    if before.dtype == torch.float32:
        many = rows * prod(widths) >= GRADIENT_CALL
    if many and gcd(*widths) * before.itemsize % STRIDE == 0:
        if fetch == "before":
            before = spread(before, order.place_TK, dtype=before.dtype)
        else:
            after = spread(after, order.place_TK, dtype=after.dtype)
        return F.grouped_mm(before.t(), after, offs=order.ends_E)
    narrow = Tile(64, 128, 32, 4, 4)
    return correlated(
        before,
        after,
        order.ends_E,
        tile=Tile(128, 128, 32, 8, 3) if before.dtype == torch.float32 else narrow,
        choice_C=order.choice_C,
        top_k=order.place_TK.shape[1],
        fetch=fetch,
    )
