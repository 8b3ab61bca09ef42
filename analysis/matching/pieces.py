"""Pieces of tokenizers laid over the text that they make up: which characters each token adds.

T = tokens of one text.
"""

import re
from functools import cache
from itertools import accumulate

import numpy as np

MARK = "▁"  # a blank, of SentencePiece
BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # of its tokens that are one byte


def laid_over(pieces_T: list[str], text: str) -> list[bytes] | None:
    """What each token adds: its piece as it stands, or one of a byte-level or a SentencePiece
    vocabulary. None where no reading gives the text, or as much of it as there are tokens."""
    wanted = text.encode("utf-8", "surrogatepass")
    for reading in (_plain, _byte_level, _sentencepiece):
        added_T = reading(pieces_T, text)
        if added_T is not None and _gives(b"".join(added_T), wanted):
            return added_T
    return None


def character_ends(added_T: list[bytes], other_T: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """How many characters lie in the tokens up to each one [T], of those tokens that end before the
    texts differ. A character of several tokens lies in the last of them."""
    texts = [np.frombuffer(b"".join(added), np.uint8) for added in (added_T, other_T)]
    common = min(map(len, texts))
    differs = np.flatnonzero(texts[0][:common] != texts[1][:common])
    same = int(differs[0]) if len(differs) else common
    is_last = np.ones(same, dtype=bool)  # byte of a character: none that continues it follows
    for text in texts:
        after = text[1 : same + 1]
        is_last[: len(after)] &= (after & 0xC0) != 0x80
    complete = np.append(0, np.cumsum(is_last))
    ends, other_ends = (
        complete[np.array([end for end in accumulate(map(len, added)) if end <= same], int)]
        for added in (added_T, other_T)
    )
    return ends, other_ends


def _gives(joined: bytes, wanted: bytes) -> bool:
    """A text may be longer than what was read of it, and tokens than the prompt that it holds."""
    return bool(joined) and (wanted.startswith(joined) or joined.startswith(wanted))


def _plain(pieces_T: list[str], text: str) -> list[bytes]:
    return [piece.encode("utf-8", "surrogatepass") for piece in pieces_T]


def _byte_level(pieces_T: list[str], text: str) -> list[bytes] | None:
    known = _byte_of()
    if not all(character in known for piece in pieces_T for character in piece):
        return None
    return [bytes(known[character] for character in piece) for piece in pieces_T]


def _sentencepiece(pieces_T: list[str], text: str) -> list[bytes]:
    added_T = [
        bytes([int(match[1], 16)])
        if (match := BYTE.fullmatch(piece))
        else piece.replace(MARK, " ").encode("utf-8", "surrogatepass")
        for piece in pieces_T
    ]
    if not text.startswith(" "):  # it sets a blank before the first word
        for place, added in enumerate(added_T):
            if added:
                added_T[place] = added.removeprefix(b" ")
                break
    return added_T


@cache
def _byte_of() -> dict[str, int]:
    """The alphabet of byte-level vocabularies: printable Latin-1 stands for itself, other bytes are
    numbered from 256 on."""
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in itself]
    alphabet = {chr(byte): byte for byte in itself}
    return alphabet | {chr(256 + place): byte for place, byte in enumerate(others)}
