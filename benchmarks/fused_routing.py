"""Gate, softmax, top-k and the order of the experts' rows in two passes over the tokens (Triton).

For a forward pass in bfloat16 without groups or a bias. Products are exact to about 2^-17: tokens
are bfloat16 as they are, the gate's float32 weights are the sum of two bfloat16 parts.

T = tokens, D = model dim, E = routed experts, K = experts per token, S = slices of tokens.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

SLICE = 32  # tokens that are ordered together


class Routing(NamedTuple):
    router_logits_TE: Tensor  # float32
    weights_TK: Tensor  # float32, largest first
    expert_ids_TK: Tensor  # int32
    order: Tensor  # int32 [T * K]: places in expert_ids_TK, by expert and then by place
    ends_E: Tensor  # int32: where the rows of each expert end in `order`


def split(weight_ED: Tensor) -> tuple[Tensor, Tensor]:
    """Two bfloat16 parts of a float32 weight, once for all forward passes."""
    high_ED = weight_ED.bfloat16()
    return high_ED, (weight_ED - high_ED.float()).bfloat16()


def fused_routing(x_TD: Tensor, parts_ED: tuple[Tensor, Tensor], *, top_k: int) -> Routing:
    """`x_TD` in bfloat16, contiguous; D a multiple of 64."""
    tokens, dim = x_TD.shape
    num_experts = len(parts_ED[0])
    wide = triton.next_power_of_2(num_experts)
    device = x_TD.device
    block = 128 if wide >= 128 else 64
    slices = triton.cdiv(tokens, block) * (block // SLICE)
    logits_TE = torch.empty(tokens, num_experts, device=device)
    weights_TK = torch.empty(tokens, top_k, device=device)
    ids_TK = torch.empty(tokens, top_k, dtype=torch.int32, device=device)
    counts_ES = torch.empty(num_experts, slices, dtype=torch.int32, device=device)
    gate_kernel[(triton.cdiv(tokens, block),)](
        x_TD,
        *parts_ED,
        logits_TE,
        weights_TK,
        ids_TK,
        counts_ES,
        tokens,
        slices,
        D=dim,
        E=num_experts,
        WIDE=wide,
        K=top_k,
        BLOCK=block,
        STEP=64,
        SLICE=SLICE,
        num_warps=8 if wide >= 128 else 4,
        num_stages=2 if wide >= 128 else 3,
    )
    until_ES = counts_ES.view(-1).cumsum(0, dtype=torch.int32).view_as(counts_ES)
    order = torch.empty(tokens * top_k, dtype=torch.int32, device=device)
    order_kernel[(slices,)](
        ids_TK,
        counts_ES,
        until_ES,
        order,
        tokens,
        slices,
        E=num_experts,
        WIDE=wide,
        K=top_k,
        SLICE=SLICE,
        num_warps=4,
    )
    return Routing(logits_TE, weights_TK, ids_TK, order, until_ES[:, -1])


@triton.jit
def gate_kernel(
    x_ptr,
    high_ptr,
    low_ptr,
    logits_ptr,
    weights_ptr,
    ids_ptr,
    counts_ptr,
    tokens,
    slices,
    D: tl.constexpr,
    E: tl.constexpr,
    WIDE: tl.constexpr,
    K: tl.constexpr,
    BLOCK: tl.constexpr,
    STEP: tl.constexpr,
    SLICE: tl.constexpr,
):
    """Logits, weights and experts of a block of tokens, and how often each slice chose each."""
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    e = tl.arange(0, WIDE)
    here = t < tokens
    known = e < E
    logits = tl.zeros((BLOCK, WIDE), tl.float32)
    for start in range(0, D, STEP):
        d = start + tl.arange(0, STEP)
        x = tl.load(x_ptr + t[:, None].to(tl.int64) * D + d[None, :], here[:, None], other=0.0)
        place = e[None, :] * D + d[:, None]
        high = tl.load(high_ptr + place, known[None, :], other=0.0)
        low = tl.load(low_ptr + place, known[None, :], other=0.0)
        logits = tl.dot(x, high, logits)
        logits = tl.dot(x, low, logits)
    cell = t[:, None] * E + e[None, :]
    tl.store(logits_ptr + cell, logits, here[:, None] & known[None, :])
    left = tl.where(known[None, :], logits, float("-inf"))
    most = tl.max(left, 1)
    total = tl.sum(tl.exp(left - most[:, None]), 1)
    chosen = tl.zeros((BLOCK, WIDE), tl.int32)
    for k in tl.static_range(K):
        best = tl.max(left, 1)
        expert = tl.argmax(left, 1)
        tl.store(weights_ptr + t * K + k, tl.exp(best - most) / total, here)
        tl.store(ids_ptr + t * K + k, expert.to(tl.int32), here)
        hit = e[None, :] == expert[:, None]
        chosen += (hit & here[:, None]).to(tl.int32)
        left = tl.where(hit, float("-inf"), left)
    counts = tl.sum(tl.reshape(chosen, (BLOCK // SLICE, SLICE, WIDE)), 1)
    s = tl.program_id(0) * (BLOCK // SLICE) + tl.arange(0, BLOCK // SLICE)
    tl.store(
        counts_ptr + e[None, :] * slices + s[:, None],
        counts,
        (s[:, None] < slices) & known[None, :],
    )


@triton.jit
def order_kernel(
    ids_ptr,
    counts_ptr,
    until_ptr,
    order_ptr,
    tokens,
    slices,
    E: tl.constexpr,
    WIDE: tl.constexpr,
    K: tl.constexpr,
    SLICE: tl.constexpr,
):
    """Every choice of a slice of tokens to its place among the choices of its expert."""
    s = tl.program_id(0)
    t = s * SLICE + tl.arange(0, SLICE)
    e = tl.arange(0, WIDE)
    here = t < tokens
    known = e < E
    chosen = tl.zeros((SLICE, WIDE), tl.int32)
    for k in tl.static_range(K):
        expert = tl.load(ids_ptr + t * K + k, here, other=WIDE)
        chosen += (e[None, :] == expert[:, None]).to(tl.int32)
    until = tl.load(until_ptr + e * slices + s, known, other=0)
    first = until - tl.load(counts_ptr + e * slices + s, known, other=0)
    place = first[None, :] + tl.cumsum(chosen, 0) - chosen
    for k in tl.static_range(K):
        expert = tl.load(ids_ptr + t * K + k, here, other=WIDE)
        to = tl.sum(tl.where(e[None, :] == expert[:, None], place, 0), 1)
        tl.store(order_ptr + to, t * K + k, here)
