"""Gate, softmax or sigmoid, top-k and the order of the experts' rows on a GPU (Triton).

T = tokens, D = model dim, E = routed experts, K = experts per token, C = T * K choices,
S = slices of tokens.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

STEP = 64  # of the model dim, in a product: less where there are more than 256 experts
GATED = 1_024  # experts, the most whose logits one program holds
CELLS = 8_192  # tokens x experts that one program of the order holds


class Order(NamedTuple):
    """Rows are in the order of the experts, those of one expert in the order of the tokens."""

    place_TK: Tensor  # of every choice among the rows, int32
    choice_C: Tensor  # of every row among the T * K, int32
    ends_E: Tensor  # of each expert's rows, int32


def fused_gate(
    x_TD: Tensor, weight_ED: Tensor, *, top_k: int, sigmoid: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(router_logits_TE, weights_TK in float32, expert_ids_TK), in one pass over the tokens.

    `x_TD` in bfloat16, D a multiple of STEP, E up to GATED. A float32 weight is multiplied as the
    sum of two bfloat16 parts, exact to about 2^-17; a bfloat16 weight is exact. Weights are scores,
    the largest first. The expert that comes first wins a tie.
    """
    x_TD = x_TD.contiguous()
    tokens, dim = x_TD.shape
    num_experts = len(weight_ED)
    wide = max(16, triton.next_power_of_2(num_experts))
    block = 16_384 // wide if wide > 256 else 128 if wide >= 128 else 64
    high_ED = weight_ED.to(x_TD.dtype).contiguous()
    exact = high_ED.dtype == weight_ED.dtype
    low_ED = high_ED if exact else (weight_ED - high_ED).to(x_TD.dtype)
    logits_TE = x_TD.new_empty((tokens, num_experts), dtype=torch.float32)
    weights_TK = x_TD.new_empty((tokens, top_k), dtype=torch.float32)
    ids_TK = x_TD.new_empty((tokens, top_k), dtype=torch.long)
    gate_kernel[(triton.cdiv(tokens, block),)](
        x_TD,
        high_ED,
        low_ED,
        logits_TE,
        weights_TK,
        ids_TK,
        tokens,
        D=dim,
        E=num_experts,
        WIDE=wide,
        K=top_k,
        BLOCK=block,
        STEP=min(STEP, 16_384 // wide),
        EXACT=exact,
        SIGMOID=sigmoid,
        num_warps=8 if wide >= 128 else 4,
        num_stages=2 if wide >= 128 else 3,
    )
    return logits_TE, weights_TK, ids_TK


def ordered(expert_ids_TK: Tensor, *, num_experts: int) -> Order:
    ids_TK = expert_ids_TK.contiguous()
    tokens, top_k = ids_TK.shape
    wide = triton.next_power_of_2(num_experts)
    size = max(1, min(64, CELLS // wide))
    slices = triton.cdiv(tokens, size)
    order = Order(
        torch.empty_like(ids_TK, dtype=torch.int32),
        ids_TK.new_empty(ids_TK.numel(), dtype=torch.int32),
        ids_TK.new_empty(num_experts, dtype=torch.int32),
    )
    sizes = {"E": num_experts, "WIDE": wide, "K": top_k, "SIZE": size}
    counts_ES = until_ES = None
    if slices > 1:
        counts_ES = ids_TK.new_empty((num_experts, slices), dtype=torch.int32)
        count_kernel[(slices,)](ids_TK, counts_ES, tokens, slices, **sizes)
        until_ES = counts_ES.view(-1).cumsum(0, dtype=torch.int32)
    elif not tokens:
        order.ends_E.zero_()
        return order
    place_kernel[(slices,)](ids_TK, counts_ES, until_ES, *order, tokens, slices, **sizes)
    return order


@triton.jit
def gate_kernel(
    x_ptr,
    high_ptr,
    low_ptr,
    logits_ptr,
    weights_ptr,
    ids_ptr,
    tokens,
    D: tl.constexpr,
    E: tl.constexpr,
    WIDE: tl.constexpr,
    K: tl.constexpr,
    BLOCK: tl.constexpr,
    STEP: tl.constexpr,
    EXACT: tl.constexpr,
    SIGMOID: tl.constexpr,
):
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    e = tl.arange(0, WIDE)
    here = t < tokens
    known = e < E
    logits = tl.zeros((BLOCK, WIDE), tl.float32)
    for start in range(0, D, STEP):
        d = start + tl.arange(0, STEP)
        x = tl.load(x_ptr + t[:, None].to(tl.int64) * D + d[None, :], here[:, None], other=0.0)
        at = e[None, :] * D + d[:, None]
        logits = tl.dot(x, tl.load(high_ptr + at, known[None, :], other=0.0), logits)
        if not EXACT:
            logits = tl.dot(x, tl.load(low_ptr + at, known[None, :], other=0.0), logits)
    cell = t[:, None].to(tl.int64) * E + e[None, :]
    tl.store(logits_ptr + cell, logits, here[:, None] & known[None, :])
    left = tl.where(known[None, :], logits, float("-inf"))
    most = tl.max(left, 1)
    total = tl.sum(tl.exp(left - most[:, None]), 1)
    for k in tl.static_range(K):
        best = tl.max(left, 1)
        expert = tl.argmax(left, 1)
        score = tl.sigmoid(best) if SIGMOID else tl.exp(best - most) / total
        tl.store(weights_ptr + t * K + k, score, here)
        tl.store(ids_ptr + t * K + k, expert.to(tl.int64), here)
        left = tl.where(e[None, :] == expert[:, None], float("-inf"), left)


@triton.jit
def count_kernel(
    ids_ptr,
    counts_ptr,
    tokens,
    slices,
    E: tl.constexpr,
    WIDE: tl.constexpr,
    K: tl.constexpr,
    SIZE: tl.constexpr,
):
    """How often a slice of tokens chose each expert."""
    s = tl.program_id(0)
    t = s * SIZE + tl.arange(0, SIZE)
    e = tl.arange(0, WIDE)
    chosen = tl.zeros((SIZE, WIDE), tl.int32)
    for k in range(K):
        expert = tl.load(ids_ptr + t * K + k, t < tokens, other=WIDE)
        chosen += (e[None, :] == expert[:, None]).to(tl.int32)
    tl.store(counts_ptr + e * slices + s, tl.sum(chosen, 0), e < E)


@triton.jit
def place_kernel(
    ids_ptr,
    counts_ptr,  # None: there is one slice
    until_ptr,
    place_ptr,
    choice_ptr,
    ends_ptr,
    tokens,
    slices,
    E: tl.constexpr,
    WIDE: tl.constexpr,
    K: tl.constexpr,
    SIZE: tl.constexpr,
):
    """Every choice of a slice to its place; a token may choose an expert twice."""
    s = tl.program_id(0)
    t = s * SIZE + tl.arange(0, SIZE)
    e = tl.arange(0, WIDE)
    here = t < tokens
    chosen = tl.zeros((SIZE, WIDE), tl.int32)
    for k in range(K):
        expert = tl.load(ids_ptr + t * K + k, here, other=WIDE)
        chosen += (e[None, :] == expert[:, None]).to(tl.int32)
    if counts_ptr is None:
        counts = tl.sum(chosen, 0)
        until = tl.cumsum(counts, 0)
    else:
        counts = tl.load(counts_ptr + e * slices + s, e < E, other=0)
        until = tl.load(until_ptr + e * slices + s, e < E, other=0)
    tl.store(ends_ptr + e, until, (e < E) & (s == slices - 1))
    first = until - counts
    place = first[None, :] + tl.cumsum(chosen, 0) - chosen
    for k in range(K):
        expert = tl.load(ids_ptr + t * K + k, here, other=WIDE)
        hit = e[None, :] == expert[:, None]
        own = tl.sum(tl.where(hit, place, 0), 1)
        tl.store(place_ptr + t * K + k, own, here)
        tl.store(choice_ptr + own, t * K + k, here)
        place += hit.to(tl.int32)
