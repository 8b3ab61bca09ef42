"""Routed experts on a CPU, in groups: what is computed of a group's rows stays in the cache.

T = tokens, K = most experts per token, D = model dim, E = stored experts, F = expert width,
C = choices, sorted by expert, R = those of one group.
"""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

GROUP_ROWS = 2048  # of more than one expert; 512 to 4,096 could not be told apart on two cores

silu_into = torch.ops.aten.silu.out
silu_backward_into = torch.ops.aten.silu_backward.grad_input


class Group(NamedTuple):
    experts: list[int]
    rows: list[int]  # of each of them


class Choices(NamedTuple):
    token_C: Tensor
    groups: list[Group]
    unasked: list[int]  # experts

    @property
    def sizes(self) -> list[int]:
        return [sum(group.rows) for group in self.groups]


def routed(
    x_TD: Tensor,
    expert_ids_TK: Tensor,
    weights_TK: Tensor,
    gate_up_EDF: Tensor,
    down_EFD: Tensor,
    *,
    dtype: torch.dtype,
) -> Tensor:
    """[T, D]: what its experts give each token, weighted, computed in `dtype`, summed in float32
    or more.

    Ids that are no stored expert, below 0 or from E on, add nothing.
    """
    num_experts = len(gate_up_EDF)
    ids = expert_ids_TK.reshape(-1)
    last = ids.masked_fill(ids < 0, num_experts).to(torch.int16)  # half the passes of a radix sort
    expert_C, order_C = last.sort(stable=True)
    rows_E = torch.bincount(expert_C, minlength=num_experts)[:num_experts].tolist()
    order_C = order_C[: sum(rows_E)]
    unasked = [expert for expert, rows in enumerate(rows_E) if not rows]
    choices = Choices(order_C // expert_ids_TK.shape[1], list(grouped(rows_E)), unasked)
    weight_C = weights_TK.reshape(-1).index_select(0, order_C).to(dtype)
    inputs = x_TD.to(dtype), weight_C, gate_up_EDF, down_EFD
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        if inputs[0].is_inference():  # such a tensor cannot be saved
            inputs = inputs[0].clone(), *inputs[1:]
        return Routed.apply(*inputs, choices)
    return computed(*inputs, choices)


def grouped(rows_E: list[int]) -> Iterator[Group]:
    """Experts that have rows, in order, up to GROUP_ROWS together."""
    group = Group([], [])
    for expert, rows in enumerate(rows_E):
        if group.rows and sum(group.rows) + rows > GROUP_ROWS:
            yield group
            group = Group([], [])
        if rows:
            group.experts.append(expert)
            group.rows.append(rows)
    if group.rows:
        yield group


def computed(
    x_TD: Tensor,
    weight_C: Tensor,
    gate_up_EDF: Tensor,
    down_EFD: Tensor,
    choices: Choices,
    kept: list[Tensor] | None = None,
) -> Tensor:
    """`kept` gets every group's gate and up, which the backward needs."""
    width, dim = down_EFD.shape[1:]
    most = max(choices.sizes, default=0)
    sizes = dim, width, 2 * width
    rows_RD, hidden_RF, gate_up_RF = (fresh((most, size), x_TD.dtype) for size in sizes)
    gate_up_of, down_of = converted(gate_up_EDF, x_TD.dtype), converted(down_EFD, x_TD.dtype)
    sum_TD = torch.zeros_like(x_TD, dtype=wide(x_TD.dtype))
    tokens, weights = choices.token_C.split(choices.sizes), weight_C.split(choices.sizes)
    for group, token_R, weight_R in zip(choices.groups, tokens, weights, strict=True):
        rows = len(token_R)
        if kept is None:
            into_RF = gate_up_RF[:rows]
        else:
            into_RF = fresh((rows, 2 * width), x_TD.dtype)
            kept.append(into_RF)
        gate_RF, up_RF = into_RF.chunk(2, dim=1)
        x_RD = torch.index_select(x_TD, 0, token_R, out=rows_RD[:rows])
        multiply(group, x_RD, gate_up_of, out=into_RF)
        acted_RF = silu_into(gate_RF, out=hidden_RF[:rows]).mul_(up_RF).mul_(weight_R.unsqueeze(1))
        multiply(group, acted_RF, down_of, out=x_RD)
        sum_TD.index_add_(0, token_R, x_RD.to(sum_TD.dtype))
    return sum_TD


class Routed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_TD: Tensor,
        weight_C: Tensor,
        gate_up_EDF: Tensor,
        down_EFD: Tensor,
        choices: Choices,
    ) -> Tensor:
        kept: list[Tensor] = []
        sum_TD = computed(x_TD, weight_C, gate_up_EDF, down_EFD, choices, kept)
        ctx.save_for_backward(x_TD, weight_C, gate_up_EDF, down_EFD, *kept)
        ctx.choices = choices
        return sum_TD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, sum_TD: Tensor) -> tuple[Tensor | None, ...]:
        x_TD, _, *experts = ctx.saved_tensors[:4]
        wants_x, _, *wants_experts, _ = ctx.needs_input_grad
        to_x_TD = torch.zeros_like(x_TD, dtype=wide(x_TD.dtype)) if wants_x else None
        to_experts = [
            fresh(weights.shape, weights.dtype) if wanted else None
            for weights, wanted in zip(experts, wants_experts, strict=True)
        ]
        for gradient in to_experts:
            if gradient is not None:
                for expert in ctx.choices.unasked:
                    gradient[expert].zero_()
        to_weight_C = backpropagate(ctx, sum_TD.to(x_TD.dtype), to_x_TD, *to_experts)
        if to_x_TD is not None:
            to_x_TD = to_x_TD.to(x_TD.dtype)
        return to_x_TD, to_weight_C, *to_experts, None


def backpropagate(
    ctx: Any,
    sum_TD: Tensor,
    to_x_TD: Tensor | None,
    to_gate_up_EDF: Tensor | None,
    to_down_EFD: Tensor | None,
) -> Tensor:
    """The gradient `sum_TD` into those that are wanted; returns the one of `weight_C`."""
    x_TD, weight_C, gate_up_EDF, down_EFD, *kept = ctx.saved_tensors
    choices, to_weight_C = ctx.choices, torch.empty_like(weight_C)
    width, dim = down_EFD.shape[1:]
    most = max(choices.sizes, default=0)
    sizes = dim, dim, 2 * width, width, width
    x, y, back, hidden, acted = (fresh((most, size), x_TD.dtype) for size in sizes)
    gate_up_of, down_of = converted(gate_up_EDF, x_TD.dtype), converted(down_EFD, x_TD.dtype)
    pieces = (tensor.split(choices.sizes) for tensor in (choices.token_C, weight_C, to_weight_C))
    for group, gate_up_RF, token_R, weight_R, to_weight_R in zip(
        choices.groups, kept, *pieces, strict=True
    ):
        rows = len(token_R)
        back_RF, hidden_RF, acted_RF = back[:rows], hidden[:rows], acted[:rows]
        y_RD = torch.index_select(sum_TD, 0, token_R, out=y[:rows])
        multiply(group, y_RD, down_of, transposed=True, out=back_RF[:, :width])
        through_swiglu(gate_up_RF, weight_R, back_RF, hidden_RF, acted_RF, to_weight_R)
        if to_down_EFD is not None:
            correlate(group, hidden_RF, y_RD, out=to_down_EFD)
        if to_gate_up_EDF is not None:
            x_RD = torch.index_select(x_TD, 0, token_R, out=x[:rows])
            correlate(group, x_RD, back_RF, out=to_gate_up_EDF)
        if to_x_TD is not None:
            multiply(group, back_RF, gate_up_of, transposed=True, out=y_RD)
            to_x_TD.index_add_(0, token_R, y_RD.to(to_x_TD.dtype))
    return to_weight_C


def through_swiglu(
    gate_up_RF: Tensor,
    weight_R: Tensor,
    back_RF: Tensor,
    hidden_RF: Tensor,
    acted_RF: Tensor,
    to_weight_R: Tensor,
) -> None:
    """Turns `back_RF`, whose first half is the gradient of what is multiplied by `down`, into that
    of gate and up. Fills `hidden_RF` with what was multiplied; `acted_RF` is scratch."""
    gate_RF, up_RF = gate_up_RF.chunk(2, dim=1)
    to_gate_RF, to_up_RF = back_RF.chunk(2, dim=1)
    silu_into(gate_RF, out=acted_RF)
    torch.mul(acted_RF, up_RF, out=hidden_RF)
    torch.mul(to_gate_RF, hidden_RF, out=to_up_RF)
    torch.sum(to_up_RF, 1, out=to_weight_R)
    weight_R = weight_R.unsqueeze(1)
    hidden_RF.mul_(weight_R)
    to_gate_RF.mul_(weight_R)
    torch.mul(to_gate_RF, acted_RF, out=to_up_RF)
    silu_backward_into(to_gate_RF.mul_(up_RF), gate_RF, grad_input=to_gate_RF)


class Activated(torch.autograd.Function):
    """silu(gate) * up, gate and up beside each other in the last dimension."""

    @staticmethod
    def forward(ctx: Any, gate_up_TF: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up_TF)
        gate_TF, up_TF = gate_up_TF.chunk(2, dim=-1)
        return F.silu(gate_TF).mul_(up_TF)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_acted_TF: Tensor) -> Tensor:
        (gate_up_TF,) = ctx.saved_tensors
        gate_TF, up_TF = gate_up_TF.chunk(2, dim=-1)
        back_TF = fresh(gate_up_TF.shape, gate_up_TF.dtype)
        to_gate_TF, to_up_TF = back_TF.chunk(2, dim=-1)
        silu_into(gate_TF, out=to_up_TF).mul_(to_acted_TF)
        torch.mul(to_acted_TF, up_TF, out=to_gate_TF)
        silu_backward_into(to_gate_TF, gate_TF, grad_input=to_gate_TF)
        return back_TF


def wide(dtype: torch.dtype) -> torch.dtype:
    """For sums: those in bfloat16 are slow and coarse."""
    return torch.promote_types(dtype, torch.float32)


def fresh(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """As torch.empty, but numpy asks the system for huge pages where it is large: the first touch
    of small ones is a good part of a backward."""
    size = prod(shape) * dtype.itemsize
    place = torch.from_numpy(np.empty(size + 1, np.uint8))  # an empty array could not be viewed
    return place[:size].view(dtype).view(shape)


def converted(weights_EXY: Tensor, dtype: torch.dtype) -> Callable[[int], Tensor]:
    """An expert's weights in `dtype`, until the next expert is asked for."""
    each = weights_EXY.detach().unbind()
    if weights_EXY.dtype == dtype:
        return each.__getitem__
    place_XY = torch.empty_like(each[0], dtype=dtype)
    return lambda expert: place_XY.copy_(each[expert])


def multiply(
    group: Group,
    rows_RX: Tensor,
    weights_of: Callable[[int], Tensor],
    *,
    transposed: bool = False,
    out: Tensor,
) -> None:
    """Each row by its expert's weights."""
    pieces = zip(group.experts, rows_RX.split(group.rows), out.split(group.rows), strict=True)
    for expert, rows, result in pieces:
        weights = weights_of(expert)
        torch.mm(rows, weights.t() if transposed else weights, out=result)


def correlate(group: Group, rows_RX: Tensor, rows_RY: Tensor, *, out: Tensor) -> None:
    """The gradient [E, X, Y] of the weights that led from the one to the other."""
    place_XY = torch.empty_like(out[0], dtype=rows_RX.dtype)
    pieces = zip(group.experts, rows_RX.split(group.rows), rows_RY.split(group.rows), strict=True)
    for expert, before, after in pieces:
        if out.dtype == rows_RX.dtype:
            torch.mm(before.t(), after, out=out[expert])
        else:
            out[expert] = torch.mm(before.t(), after, out=place_XY)
