"""Typos."""

from data.typos import with_typos

TEXT = "The quick brown fox jumps over the lazy dog, 42 times a day. Ünïcödé stays."


def test_typos_keep_the_length_and_all_but_words() -> None:
    found = with_typos(TEXT, seed=0, rate=1.0)
    assert len(found) == len(TEXT)
    assert found != TEXT
    kept = [
        place for place, letter in enumerate(TEXT) if not (letter.isascii() and letter.isalpha())
    ]
    assert [found[place] for place in kept] == [TEXT[place] for place in kept]
    assert [word[0] for word in found.split()] == [word[0] for word in TEXT.split()]


def test_at_most_one_typo_a_word_and_the_same_again() -> None:
    words = " ".join(["letter"] * 500)
    found = with_typos(words, seed=1, rate=0.1)
    assert found == with_typos(words, seed=1, rate=0.1)
    changed = [word for word in found.split() if word != "letter"]
    assert 25 < len(changed) < 75
    assert all(sum(a != b for a, b in zip(word, "letter", strict=True)) <= 2 for word in changed)


def test_no_rate_no_typo() -> None:
    assert with_typos(TEXT, seed=0, rate=0.0) == TEXT
