"""The text of each token."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from data.pieces import encoder, pieces
from data.tokenizer import load_tokenizer

FILE = Path(__file__).parents[2] / "data" / "checkpoint" / "tokenizer.json"
encode = encoder(load_tokenizer(FILE), FILE)


@settings(deadline=None)
@given(st.lists(st.text()))
def test_the_pieces_of_any_text_join_to_it(texts: list[str]) -> None:
    for text, (token_ids, added) in zip(texts, encode(texts), strict=True):
        assert ("".join(added), len(added)) == (text, len(token_ids))


def test_pieces_join_to_the_text() -> None:
    assert pieces("a bc", [(0, 1), (1, 3), (3, 4)]) == ["a", " b", "c"]
    assert pieces("é!", [(0, 1), (0, 1), (1, 2)]) == ["", "é", "!"]  # two tokens, one character
    assert pieces("", []) == []
