"""Our models as what reads them wants them, with a token a character."""

from collections.abc import Callable

from model.deepseek_moe import DeepSeekMoE
from model.transformer import Transformer


def letter_ids(text: str) -> list[int]:
    """a is 1, b is 2."""
    return [ord(letter) - 96 for letter in text]


def letters_of(token_ids: list[int]) -> str:
    return "".join(chr(96 + token_id) for token_id in token_ids)


def readable(
    transformer: Transformer, ids_of: Callable[[str], list[int]] = letter_ids
) -> DeepSeekMoE:
    return DeepSeekMoE(
        transformer,
        encode=lambda texts: [(ids_of(text), list(text)) for text in texts],
        decode=letters_of,
        tokenizer="letters",
    )
