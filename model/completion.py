"""Text that a model writes after a prompt, until it says that it is done."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from model.capture import START_TOKEN_ID
from model.generate import generate
from model.transformer import Transformer


class Completion(NamedTuple):
    text: str  # without the stop sequence
    cut: int  # tokens of the prompt that were left out on its left


def complete(
    model: Transformer,
    encode: Callable[[str], list[int]],
    decode: Callable[[list[int]], str],
    prompt: str,
    *,
    stops: Sequence[str],
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> Completion:
    """Until a stop sequence, the end of the text, or `max_new_tokens`."""
    room = model.config.context_length - 1 - max_new_tokens
    if max_new_tokens < 1 or room < 1:
        raise ValueError(
            f"{max_new_tokens} new tokens do not fit beside a prompt in a context of "
            f"{model.config.context_length}; ask for 1 to {model.config.context_length - 2}"
        )
    prompt_ids = encode(prompt)
    cut = max(0, len(prompt_ids) - room)
    new_ids: list[int] = []
    text = ""
    sampled = generate(
        model,
        [START_TOKEN_ID, *prompt_ids[cut:]],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=1.0,
        seed=seed,
    )
    for token_id in sampled:
        if token_id == START_TOKEN_ID:  # precedes every document, so it ends this one
            break
        new_ids.append(token_id)
        text = decode(new_ids)
        if found := [place for stop in stops if (place := text.find(stop)) >= 0]:
            return Completion(text[: min(found)], cut)
    return Completion(text, cut)
