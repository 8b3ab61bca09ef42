"""Sampling from the model, one token at a time.

V = vocabulary.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.transformer import Transformer


def next_token_distribution(logits_V: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """Probabilities after temperature, cut to the smallest set whose mass reaches top_p.

    Temperature 0 puts everything on the likeliest token.
    """
    if temperature < 0:
        raise ValueError(f"temperature ({temperature}) must not be negative")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p ({top_p}) must be above 0 and at most 1")
    if temperature == 0:
        return F.one_hot(logits_V.argmax(), logits_V.numel()).float()
    sorted_V, order_V = F.softmax(logits_V.float() / temperature, dim=-1).sort(descending=True)
    before_V = sorted_V.cumsum(-1) - sorted_V
    sorted_V = torch.where(before_V < top_p, sorted_V, 0.0)
    return torch.zeros_like(sorted_V).scatter(0, order_V, sorted_V / sorted_V.sum())


@torch.inference_mode()
def generate(
    model: Transformer,
    prompt_ids: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> Iterator[int]:
    """Continue `prompt_ids`; stops at `max_new_tokens` or when the context is full.

    The last token yielded has not been through the model.
    """
    room = model.config.context_length - len(prompt_ids)
    if not prompt_ids or room < 1:
        raise ValueError(
            f"a prompt of {len(prompt_ids)} tokens cannot be continued in a context of "
            f"{model.config.context_length}"
        )
    device = model.embedding.weight.device
    generator = torch.Generator().manual_seed(seed)
    cache = model.new_cache()
    fresh_BS = torch.tensor([list(prompt_ids)], device=device)
    for _ in range(min(max_new_tokens, room)):
        logits_V = model(fresh_BS, cache=cache)[0, -1].cpu()
        probability_V = next_token_distribution(logits_V, temperature=temperature, top_p=top_p)
        token_id = int(torch.multinomial(probability_V, 1, generator=generator))
        yield token_id
        fresh_BS = torch.tensor([[token_id]], device=device)
