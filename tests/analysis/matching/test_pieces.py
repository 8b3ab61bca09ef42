"""Pieces of tokenizers over the text that they make up."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.matching.pieces import character_ends, laid_over


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["to", "", " be"], "to be"),
        (["to", "Ġbe", "Ċ"], "to be\n"),
        (["caf", "Ã", "©"], "café"),  # two bytes of one character
        (["▁to", "▁be", "<0x0A>"], "to be\n"),
        (["▁", "▁to"], "  to"),
        (["to"], "to be"),  # the rest was beyond the context
        (["to", " be", " or"], "to be"),  # the last was generated
    ],
)
def test_pieces_as_they_stand_or_of_a_vocabulary_give_the_text(
    pieces: list[str], text: str
) -> None:
    added = laid_over(pieces, text)
    assert added is not None
    joined = b"".join(added).decode()
    assert joined.startswith(text) or text.startswith(joined)


def test_the_blank_that_sentencepiece_sets_first_is_no_character_of_the_text() -> None:
    assert laid_over(["▁to", "▁be"], "to be") == [b"to", b" be"]


@pytest.mark.parametrize("pieces", [["t\ufffd", "o"], ["something"], [""]])
def test_pieces_that_do_not_give_the_text_are_not_laid_over_it(pieces: list[str]) -> None:
    assert laid_over(pieces, "to be") is None


def test_a_character_of_several_tokens_lies_in_the_last_of_them() -> None:
    split, whole = [b"a", b"\xc3", b"\xa9"], ["aé".encode()]
    ends, other_ends = character_ends(split, whole)
    assert (ends.tolist(), other_ends.tolist()) == ([1, 1, 2], [2])


def test_tokens_count_up_to_where_the_texts_differ() -> None:
    ends, other_ends = character_ends([b"to", b" be", b" or"], [b"to ", b"b", b"is"])
    assert (ends.tolist(), other_ends.tolist()) == ([2], [3, 4])


def test_a_character_that_differs_in_its_last_byte_is_not_in_both() -> None:
    ends, other_ends = character_ends(["é".encode()], ["è".encode()])
    assert (ends.tolist(), other_ends.tolist()) == ([], [])


@given(st.text(max_size=20), st.data())
def test_any_two_divisions_of_a_text_cover_all_its_characters(
    text: str, data: st.DataObject
) -> None:
    raw = text.encode()
    parts = []
    for _ in range(2):
        cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=6))
        ends = [0, *sorted(cuts), len(raw)]
        parts.append([raw[start:end] for start, end in pairwise(ends)])
    for ends_T, added in zip(character_ends(*parts), parts, strict=True):
        assert len(ends_T) == len(added)
        assert (np.diff(ends_T, prepend=0) >= 0).all()
        assert ends_T[-1] == len(text)
        sofar = b""
        for end, piece in zip(ends_T.tolist(), added, strict=True):
            sofar += piece
            assert end == len(sofar.decode(errors="ignore"))
