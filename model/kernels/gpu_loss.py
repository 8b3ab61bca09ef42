"""Loss of tokens under logits on a GPU (Triton): one pass over the logits, nothing kept of it.

T = tokens, V = vocabulary.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 4_096  # logits that a program holds
LEAST = -1e38  # below every logit but -inf


def fused_token_loss(logits_TV: Tensor, following_T: Tensor) -> Tensor:
    """Nats of `following_T` under the softmax of each row, in float32."""
    logits_TV = logits_TV.contiguous()
    tokens, vocabulary = logits_TV.shape
    loss_T = logits_TV.new_empty(tokens, dtype=torch.float32)
    loss_kernel[(tokens,)](
        logits_TV, following_T, loss_T, vocabulary, LEAST=LEAST, BLOCK=BLOCK, num_warps=8
    )
    return loss_T


@triton.jit
def loss_kernel(logits_ptr, following_ptr, loss_ptr, V, LEAST: tl.constexpr, BLOCK: tl.constexpr):
    t = tl.program_id(0)
    row_ptr = logits_ptr + t.to(tl.int64) * V
    most = tl.full((BLOCK,), LEAST, tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, V, BLOCK):
        v = start + tl.arange(0, BLOCK)
        logits = tl.load(row_ptr + v, v < V, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(most, logits)
        total = total * tl.exp(most - higher) + tl.exp(logits - higher)
        most = higher
    peak = tl.max(most, 0)
    whole = peak + tl.log(tl.sum(total * tl.exp(most - peak), 0))
    own = tl.load(row_ptr + tl.load(following_ptr + t)).to(tl.float32)
    tl.store(loss_ptr + t, whole - own)
