"""The text of each token."""

from data.pieces import pieces


def test_pieces_join_to_the_text() -> None:
    assert pieces("a bc", [(0, 1), (1, 3), (3, 4)]) == ["a", " b", "c"]
    assert pieces("é!", [(0, 1), (0, 1), (1, 2)]) == ["", "é", "!"]  # two tokens, one character
    assert pieces("", []) == []
