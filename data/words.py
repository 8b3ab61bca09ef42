"""Numbers of things, and errors of libraries, as they are told."""

from collections.abc import Sequence
from math import floor, log10


def counted(number: object, one: str, several: str) -> str:
    """1 text, 2,000 texts."""
    return f"{number:,} {one if number == 1 else several}"


def listed(names: Sequence[str]) -> str:
    """One, two and three."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def decimals(*changes: float, least: int) -> int:
    """As many as show two digits of the largest of them, where that is small."""
    largest = max(abs(change) for change in changes if change == change)
    return max(least, min(1 - floor(log10(largest)), 9)) if largest else least


def first_line(error: Exception) -> str:
    """Of what it says, and what follows a colon at its end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    end = next((at for at, line in enumerate(lines, 1) if not line.endswith(":")), len(lines))
    return " ".join(lines[:end])[:300] or type(error).__name__
