"""Numbers as they are told."""

import pytest

from data.words import decimals, listed


@pytest.mark.parametrize(
    ("changes", "digits"),
    [
        ((0.5,), 4),
        ((-0.0000071, -0.0000129, -0.0000014), 6),
        ((0.0, float("nan")), 4),
        ((1e-12,), 9),
    ],
)
def test_decimals_show_two_digits_of_a_small_change(
    changes: tuple[float, ...], digits: int
) -> None:
    assert decimals(*changes, least=4) == digits


def test_names_are_listed() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
