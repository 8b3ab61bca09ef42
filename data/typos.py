"""Text as it is mistyped, for asking what a model makes of it. The length stays."""

import random
import string

RATE = 0.05  # of the words of three letters and more


def with_typos(text: str, *, seed: int, rate: float = RATE) -> str:
    """One typo in so many words: two neighbouring letters swapped, or one replaced.

    The first letter of a word is right, as in most typing errors. Only ASCII letters are touched.
    """
    rng = random.Random(seed)
    letters = list(text)
    for start, end in _words(text):
        if rng.random() >= rate:
            continue
        place = rng.randrange(start + 1, end)
        if rng.random() < 0.5 and place + 1 < end:
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
        else:
            letters[place] = rng.choice(string.ascii_lowercase)
    return "".join(letters)


def _words(text: str) -> list[tuple[int, int]]:
    """(start, end) of every run of three and more ASCII letters."""
    words, start = [], None
    for place, letter in enumerate(text + " "):
        is_letter = letter in string.ascii_letters
        if is_letter and start is None:
            start = place
        if not is_letter and start is not None:
            if place - start >= 3:
                words.append((start, place))
            start = None
    return words
