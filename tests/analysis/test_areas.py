"""Areas of a map, as links have them."""

import numpy as np
import pytest

from analysis.areas import SIDE, inside, read_area, square

PLACES = np.array([[10, 50, 90], [10, 50, 90]], dtype=np.uint16)


def test_both_axes_of_the_square_have_one_scale() -> None:
    places_2P = square(np.array([0.0, 4.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    assert places_2P[0].tolist() == [0, SIDE, round(SIDE / 2)]
    assert np.diff(places_2P[1].astype(int)).tolist() == pytest.approx([SIDE / 4] * 2, abs=1)


def test_points_that_are_one_have_a_square() -> None:
    places_2P = square(np.array([3.0, 3.0]), np.array([1.0, 1.0]))
    assert np.unique(places_2P).size == 1


def test_an_area_is_read_as_it_is_written() -> None:
    area = "0000007pr0007pr7pr"
    assert read_area(area).tolist() == [[-1, -1], [SIDE + 1, -1], [SIDE + 1, SIDE + 1]]


@pytest.mark.parametrize(
    ("area", "why"),
    [
        ("000000", "3 to 32 corners"),
        ("000" * 66, "3 to 32 corners"),
        ("0000000000000", "three letters or digits"),
        ("zzz" * 6, "lies beyond 9999"),
        ("<b>" * 6, "three letters or digits"),
        ("\N{FULLWIDTH DIGIT ZERO}" * 18, "three letters or digits"),
        ("-01" * 6, "three letters or digits"),
    ],
)
def test_what_is_no_area_is_refused(area: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_area(area)


def test_a_lasso_takes_what_lies_inside() -> None:
    triangle = np.array([[0, 0], [120, 0], [0, 120]], dtype=np.float32)
    assert inside(triangle, PLACES).tolist() == [True, True, False]


def test_where_a_lasso_crosses_itself_the_inside_is_outside() -> None:
    twice = np.array([[0, 0], [99, 0], [99, 99], [0, 99], [0, 0], [60, 0], [60, 60], [0, 60]])
    assert inside(twice.astype(np.float32), PLACES).tolist() == [False, False, True]


def test_the_largest_area_holds_all_points() -> None:
    corners = np.array([[0, 0, SIDE, SIDE], [0, SIDE, 0, SIDE]], dtype=np.uint16)
    assert inside(read_area("0000007pr0007pr7pr0007pr"), corners).all()
