"""Areas of a map: polygons on the square that holds all of its points, as links have them.

P = points, C = corners. A place of the square is two numbers from 0 to 65,535.
"""

import numpy as np

SIDE = 65_535  # the square's last place
WRITTEN_SIDE = 9_999  # in links, where the square has a margin of 1: its edges can be drawn around
MOST_CORNERS = 32
DIGITS = 3  # of a number, in base 36


def square(x_P: np.ndarray, y_P: np.ndarray) -> np.ndarray:
    """The places of points (uint16 [2, P]), both axes at one scale."""
    ends = np.array([[values.min(), values.max()] for values in (x_P, y_P)], dtype=np.float64)
    side = max(float(np.ptp(ends, axis=1).max()), 1e-12)
    first = ends.mean(1) - side / 2
    places = [
        (values - least) / side * SIDE for values, least in zip((x_P, y_P), first, strict=True)
    ]
    return np.clip(np.rint(places), 0, SIDE).astype(np.uint16)


def read_area(text: str) -> np.ndarray:
    """Its corners (float32 [C, 2]). ValueError: no area is written so."""
    size = 2 * DIGITS
    if not (text.isascii() and text.isalnum()) or len(text) % size:
        raise ValueError("an area is written as three letters or digits a number")
    if not 3 <= len(text) // size <= MOST_CORNERS:
        raise ValueError(f"an area has 3 to {MOST_CORNERS} corners")
    numbers = [int(text[at : at + DIGITS], 36) for at in range(0, len(text), DIGITS)]
    if max(numbers) > WRITTEN_SIDE:
        raise ValueError(f"a corner lies beyond {WRITTEN_SIDE}")
    return np.array(numbers, np.float32).reshape(-1, 2) / WRITTEN_SIDE * (SIDE + 2) - 1


def inside(corners_C2: np.ndarray, places_2P: np.ndarray) -> np.ndarray:
    """Which points lie in the polygon [P, bool]: the edges that a ray to the right crosses are odd.
    Only those between its ends are looked at."""
    (left, bottom), (right, top) = corners_C2.min(0), corners_C2.max(0)
    x_P, y_P = places_2P
    near = np.flatnonzero((x_P >= left) & (x_P <= right) & (y_P >= bottom) & (y_P <= top))
    x_N, y_N = x_P[near].astype(np.float32), y_P[near].astype(np.float32)
    odd_N = np.zeros(len(near), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners_C2, np.roll(corners_C2, -1, axis=0), strict=True):
        beside = np.flatnonzero((y0 > y_N) != (y1 > y_N))
        odd_N[beside] ^= x_N[beside] < (x1 - x0) * (y_N[beside] - y0) / (y1 - y0) + x0
    inside_P = np.zeros(len(x_P), dtype=bool)
    inside_P[near[odd_N]] = True
    return inside_P
