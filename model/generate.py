"""Sampling from the model, one token at a time.

B = 1 sequence, S = positions, V = vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model.readable import ReadableModel


class Step(NamedTuple):
    """Logits of the tokens that the model was just given, and the token sampled after them."""

    logits_BSV: Tensor
    token_id: int


class NothingToSampleError(ValueError):
    """The logits of the next token are no distribution."""

    def __init__(self, logits_BSV: Tensor) -> None:
        super().__init__(
            "the model gives the next token logits that are NaN or infinite: nothing can be sampled"
        )
        self.logits_BSV = logits_BSV


def next_token_distribution(logits_V: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """Probabilities after temperature, cut to the smallest set whose mass reaches top_p.

    Temperature 0 puts everything on the likeliest token.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature ({temperature}) must be finite and not negative")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p ({top_p}) must be above 0 and at most 1")
    if temperature == 0:
        return F.one_hot(logits_V.argmax(), logits_V.numel()).float()
    sorted_V, order_V = F.softmax(logits_V.float() / temperature, dim=-1).sort(descending=True)
    before_V = sorted_V.cumsum(-1) - sorted_V
    least = torch.finfo(torch.float32).tiny  # a smaller top_p would be 0 here, and keep nothing
    sorted_V = torch.where(before_V < max(top_p, least), sorted_V, 0.0)
    return torch.zeros_like(sorted_V).scatter(0, order_V, sorted_V / sorted_V.sum())


def require_room(model: ReadableModel, *, max_new_tokens: int) -> int:
    """Tokens that a prompt may have, so that what precedes it and the new ones fit beside it."""
    start = len(model.unrecorded)
    room = model.context_length - start - max_new_tokens
    if max_new_tokens < 1 or room < 1:
        raise ValueError(
            f"{max_new_tokens} new tokens do not fit beside a prompt in a context of "
            f"{model.context_length}; ask for 1 to {model.context_length - start - 1}"
        )
    return room


@torch.inference_mode()
def generate(
    model: ReadableModel,
    prompt_ids: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> Iterator[Step]:
    """Continue `prompt_ids`, which are given first and then each token sampled but the last; stops
    at `max_new_tokens` or when the context is full."""
    room = model.context_length - len(prompt_ids)
    if not prompt_ids or room < 1:
        raise ValueError(
            f"a prompt of {len(prompt_ids)} tokens cannot be continued in a context of "
            f"{model.context_length}"
        )
    generator = torch.Generator().manual_seed(seed)
    read_on = model.reading()
    fresh_BS = torch.tensor([list(prompt_ids)], device=model.device)
    for _ in range(min(max_new_tokens, room)):
        logits_BSV = read_on(fresh_BS)
        logits_V = logits_BSV[0, -1].cpu()
        if not logits_V.amax().isfinite():  # NaN and infinity, but not some tokens closed by -inf
            raise NothingToSampleError(logits_BSV)
        probability_V = next_token_distribution(logits_V, temperature=temperature, top_p=top_p)
        token_id = int(torch.multinomial(probability_V, 1, generator=generator))
        yield Step(logits_BSV, token_id)
        fresh_BS = torch.tensor([[token_id]], device=model.device)
