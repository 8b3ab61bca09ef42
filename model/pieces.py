"""What each token of a continuation adds to its text, by decoding."""

from collections.abc import Callable, Sequence

CONTEXT = 8  # tokens: a tokenizer may decode the first of a text without the blank before it
SPLIT_MOST = 4  # tokens of one character


def continuation_pieces(
    token_ids: Sequence[int], decode: Callable[[list[int]], str], *, before: Sequence[int] = ()
) -> list[str]:
    """The last token of a split character adds the character. `before`: tokens that precede."""
    pieces: list[str] = []
    context, held = list(before[-CONTEXT:]), list[int]()
    for token_id in token_ids:
        held.append(token_id)
        known, text = decode(context), decode([*context, *held])
        added = text[len(known) :] if text.startswith(known) else decode(held)
        split = added.endswith("\N{REPLACEMENT CHARACTER}") and len(held) < SPLIT_MOST
        pieces.append("" if split else added)
        if not split:
            context, held = [*context, *held][-CONTEXT:], []
    return pieces
