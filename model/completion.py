"""Text that a model writes after a prompt, until it says that it is done."""

from collections.abc import Sequence
from typing import NamedTuple

from model.encoded import encode_text
from model.generate import generate, require_room
from model.readable import ReadableModel


class Completion(NamedTuple):
    text: str  # without the stop sequence
    cut: int  # tokens of the prompt that were left out on its left


def complete(
    model: ReadableModel,
    prompt: str,
    *,
    stops: Sequence[str],
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> Completion:
    """Until a stop sequence, the end of the text, or `max_new_tokens`."""
    room = require_room(model, max_new_tokens=max_new_tokens)
    prompt_ids = encode_text(model, prompt)
    cut = max(0, len(prompt_ids) - room)
    new_ids: list[int] = []
    text = ""
    steps = generate(
        model,
        [model.start_token_id, *prompt_ids[cut:]],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=1.0,
        seed=seed,
    )
    for step in steps:
        if step.token_id in model.end_token_ids:
            break
        new_ids.append(step.token_id)
        text = model.decode(new_ids)
        if ends := [place for stop in stops if (place := text.find(stop)) >= 0]:
            return Completion(text[: min(ends)], cut)
    return Completion(text, cut)
