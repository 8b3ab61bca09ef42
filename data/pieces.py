"""Texts as token ids, and the characters that each token adds."""

from collections.abc import Callable

from tokenizers import Tokenizer


def encoder(tokenizer: Tokenizer) -> Callable[[list[str]], list[tuple[list[int], list[str]]]]:
    """Token ids and pieces of each text; the pieces join to the text."""

    def encode(texts: list[str]) -> list[tuple[list[int], list[str]]]:
        encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
        return [
            (encoding.ids, pieces(text, encoding.offsets))
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    return encode


def pieces(text: str, offsets: list[tuple[int, int]]) -> list[str]:
    """Where several tokens share a character, the last of them adds it and the others nothing."""
    starts = [0, *(start for start, _ in offsets[1:]), len(text)]
    return [text[starts[token] : starts[token + 1]] for token in range(len(offsets))]
