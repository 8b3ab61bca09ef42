"""Routed experts on a CPU: groups of them side by side, each in a thread of its own.

A thread has a group's products, and what is between them, in its cache, and waits for no other;
what a choice adds has a place of its own, so that no sum depends on who was first.

T = tokens, K = most experts per token, D = model dim, E = stored experts, F = expert width,
C = choices, sorted by expert, R = those of one group.
"""

from collections.abc import Iterator
from functools import partial
from math import gcd, inf
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.cpu_groups import (
    GROUP_WORK,
    Group,
    Weights,
    converted,
    correlate,
    ends,
    grouped,
    multiply,
)
from model.kernels.cpu_memory import fresh
from model.kernels.cpu_threads import in_threads

SMALL = 2**20  # of float32, multiplications by an expert's `down` that are worth a call of its own
STRIDE = 16  # bytes that F.grouped_mm wants rows to be a multiple of

silu_into = torch.ops.aten.silu.out
silu_backward_into = torch.ops.aten.silu_backward.grad_input


class Choices(NamedTuple):
    token_C: Tensor
    place_TK: Tensor  # of each choice among the C; C for one that adds nothing
    groups: list[Group]
    unasked: list[int]  # experts

    @property
    def most(self) -> int:
        return max((sum(group.rows) for group in self.groups), default=0)


def routed(
    x_TD: Tensor,
    expert_ids_TK: Tensor,
    weights_TK: Tensor,
    gate_up_EDF: Weights,
    down_EFD: Weights,
    *,
    dtype: torch.dtype,
) -> Tensor:
    """[T, D]: what its experts give each token, weighted, computed in `dtype`, summed in float32
    or more.

    Ids that are no stored expert, below 0 or from E on, add nothing.
    """
    num_experts, width, dim = down_EFD.shape
    most = SMALL if dtype == torch.float32 else inf
    if dtype.itemsize * gcd(width, dim) % STRIDE:
        most = 0
    choices, order_C = chosen(expert_ids_TK, num_experts, each=width * dim, small=most)
    weight_C = weights_TK.reshape(-1).index_select(0, order_C).to(dtype)
    inputs = x_TD.to(dtype), weight_C, gate_up_EDF, down_EFD
    if torch.is_grad_enabled() and any(
        isinstance(given, Tensor) and given.requires_grad for given in inputs
    ):
        if inputs[0].is_inference():  # such a tensor cannot be saved
            inputs = inputs[0].clone(), *inputs[1:]
        return Routed.apply(*inputs, choices)
    return computed(*inputs, choices)


def chosen(
    expert_ids_TK: Tensor, num_experts: int, *, each: int, small: float
) -> tuple[Choices, Tensor]:
    """(the choices sorted by expert, where each of them is among the T x K).

    `each`: multiplications of a row by `down`; experts of fewer than `small` share calls.
    """
    ids = expert_ids_TK.reshape(-1)
    last = ids.masked_fill(ids < 0, num_experts).to(torch.int16)  # half the passes of a radix sort
    expert_C, order = last.sort(stable=True)
    rows_E = torch.bincount(expert_C, minlength=num_experts)[:num_experts].tolist()
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    order_C = order[: sum(rows_E)]
    groups = list(grouped(rows_E, least=GROUP_WORK // each))
    asked = sum(map(bool, rows_E))
    if each * len(order_C) < small * asked:
        groups = [group._replace(ends=ends(group, rows_E)) for group in groups]
    choices = Choices(
        token_C=order_C // expert_ids_TK.shape[1],
        place_TK=place.clamp_(max=len(order_C)).view(expert_ids_TK.shape),
        groups=sorted(groups, key=lambda group: -sum(group.rows)),
        unasked=[expert for expert, rows in enumerate(rows_E) if not rows],
    )
    return choices, order_C


def computed(
    x_TD: Tensor,
    weight_C: Tensor,
    gate_up_EDF: Weights,
    down_EFD: Weights,
    choices: Choices,
    kept_CF: Tensor | None = None,
) -> Tensor:
    """`kept_CF` gets gate and up, which the backward needs."""
    added_CD = places(choices, x_TD)
    width = down_EFD.shape[1]

    def work(groups: Iterator[Group]) -> None:
        shapes = ((choices.most, size) for size in (x_TD.shape[1], width, 2 * width))
        rows_RD, hidden_RF, gate_up_RF = (fresh(shape, x_TD.dtype) for shape in shapes)
        gate_up_of, down_of = converted(gate_up_EDF, x_TD.dtype), converted(down_EFD, x_TD.dtype)
        for group in groups:
            rows = sum(group.rows)
            into_RF = gate_up_RF[:rows] if kept_CF is None else group.of(kept_CF)
            gate_RF, up_RF = into_RF.chunk(2, dim=1)
            x_RD = torch.index_select(x_TD, 0, group.of(choices.token_C), out=rows_RD[:rows])
            multiply(group, x_RD, gate_up_of, out=into_RF)
            acted_RF = silu_into(gate_RF, out=hidden_RF[:rows]).mul_(up_RF)
            added_RD = group.of(added_CD)
            multiply(group, acted_RF, down_of, out=added_RD)
            added_RD.mul_(group.of(weight_C).unsqueeze(1))

    in_threads(work, choices.groups)
    return summed(added_CD, choices)


def places(choices: Choices, x_TD: Tensor) -> Tensor:
    """[C + 1, D], for what each choice adds; the last row adds nothing."""
    added_CD = fresh((len(choices.token_C) + 1, x_TD.shape[1]), x_TD.dtype)
    added_CD[-1].zero_()
    return added_CD


def summed(added_CD: Tensor, choices: Choices) -> Tensor:
    """[T, D], each token's choices added up in float32 or more."""
    return F.embedding_bag(choices.place_TK, added_CD, mode="sum")


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
        kept_CF = fresh((len(weight_C), gate_up_EDF.shape[2]), x_TD.dtype)
        sum_TD = computed(x_TD, weight_C, gate_up_EDF, down_EFD, choices, kept_CF)
        ctx.save_for_backward(x_TD, weight_C, gate_up_EDF, down_EFD, kept_CF)
        ctx.choices = choices
        return sum_TD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, sum_TD: Tensor) -> tuple[Tensor | None, ...]:
        x_TD, weight_C, *experts, _ = ctx.saved_tensors
        wants_x, _, *wants_experts, _ = ctx.needs_input_grad
        to_gate_up_EDF, to_down_EFD = (
            fresh(weights.shape, weights.dtype) if wanted else None
            for weights, wanted in zip(experts, wants_experts, strict=True)
        )
        to_x_CD = places(ctx.choices, x_TD) if wants_x else None
        to_weight_C = torch.empty_like(weight_C)
        gradients = to_x_CD, to_weight_C, to_gate_up_EDF, to_down_EFD
        inputs = *ctx.saved_tensors, sum_TD.to(x_TD.dtype)
        in_threads(partial(backpropagated, ctx.choices, inputs, gradients), ctx.choices.groups)
        for gradient in gradients[2:]:
            if gradient is not None:
                for expert in ctx.choices.unasked:
                    gradient[expert].zero_()
        to_x_TD = None if to_x_CD is None else summed(to_x_CD, ctx.choices)
        return to_x_TD, *gradients[1:], None


def backpropagated(
    choices: Choices,
    inputs: tuple[Tensor, ...],
    gradients: tuple[Tensor | None, Tensor, Tensor | None, Tensor | None],
    groups: Iterator[Group],
) -> None:
    """Fills those of `gradients` that are wanted, as far as `groups` go."""
    x_TD, weight_C, gate_up_EDF, down_EFD, kept_CF, sum_TD = inputs
    to_x_CD, to_weight_C, to_gate_up_EDF, to_down_EFD = gradients
    width, dim = down_EFD.shape[1:]
    shapes = ((choices.most, size) for size in (dim, 2 * width, width, width))
    rows_RD, back, hidden, acted = (fresh(shape, x_TD.dtype) for shape in shapes)
    gate_up_of, down_of = converted(gate_up_EDF, x_TD.dtype), converted(down_EFD, x_TD.dtype)
    for group in groups:
        rows, token_R = sum(group.rows), group.of(choices.token_C)
        back_RF, hidden_RF, acted_RF = back[:rows], hidden[:rows], acted[:rows]
        y_RD = torch.index_select(sum_TD, 0, token_R, out=rows_RD[:rows])
        multiply(group, y_RD, down_of, transposed=True, out=back_RF[:, :width])
        gate_up_RF, weight_R, to_weight_R = map(group.of, (kept_CF, weight_C, to_weight_C))
        through_swiglu(gate_up_RF, weight_R, back_RF, hidden_RF, acted_RF, to_weight_R)
        if to_down_EFD is not None:
            correlate(group, hidden_RF, y_RD, out=to_down_EFD)
        if to_gate_up_EDF is not None:
            x_RD = torch.index_select(x_TD, 0, token_R, out=rows_RD[:rows])
            correlate(group, x_RD, back_RF, out=to_gate_up_EDF)
        if to_x_CD is not None:
            multiply(group, back_RF, gate_up_of, transposed=True, out=group.of(to_x_CD))


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
