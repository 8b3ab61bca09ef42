"""Texts as token ids, and the characters that each token adds."""

from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from data.tokenizer import encoded


def encoder(
    tokenizer: Tokenizer, path: Path
) -> Callable[[list[str]], list[tuple[list[int], list[str]]]]:
    """Token ids and pieces of each text; the pieces join to the text. `path`: the tokenizer's."""

    def encode(texts: list[str]) -> list[tuple[list[int], list[str]]]:
        return [
            (encoding.ids, pieces(text, encoding.offsets))
            for text, encoding in zip(texts, encoded(tokenizer, texts, path), strict=True)
        ]

    return encode


def pieces(text: str, offsets: list[tuple[int, int]]) -> list[str]:
    """Where several tokens share a character, the last of them adds it and the others nothing."""
    starts = [0, *(start for start, _ in offsets[1:]), len(text)]
    return [text[starts[token] : starts[token + 1]] for token in range(len(offsets))]
