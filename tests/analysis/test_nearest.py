import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from analysis.nearest import IN_A_CELL, LOOKED_AT, Landmarks


def exact(landmarks_MS: np.ndarray, points_PS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    search = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(landmarks_MS)
    distances_PN, indices_PN = search.kneighbors(points_PS)
    return indices_PN, distances_PN


def kinds(points: int, *, seed: int) -> np.ndarray:
    """Of 40 kinds, as tokens are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(40, 16))
    return (centres[rng.integers(0, 40, points)] + rng.normal(0, 0.5, (points, 16))).astype("f4")


def test_of_few_landmarks_none_is_missed() -> None:
    landmarks_MS, points_PS = kinds(LOOKED_AT * IN_A_CELL, seed=1), kinds(500, seed=2)
    indices_PN, distances_PN = Landmarks.of(landmarks_MS, seed=0).nearest(points_PS, 5)
    expected = exact(landmarks_MS, points_PS)
    assert distances_PN == pytest.approx(expected[1], abs=1e-4)
    assert (indices_PN == expected[0]).mean() > 0.999  # those equally far may change places


def test_of_many_landmarks_nearly_all_are_found() -> None:
    landmarks_MS, points_PS = kinds(10_000, seed=1), kinds(1_000, seed=2)
    indices_PN, _ = Landmarks.of(landmarks_MS, seed=0).nearest(points_PS, 5)
    expected_PN, _ = exact(landmarks_MS, points_PS)
    found = (indices_PN[:, :, None] == expected_PN[:, None, :]).any(2)
    assert found.mean() > 0.97


def test_landmarks_that_are_all_alike() -> None:
    indices_PN, distances_PN = Landmarks.of(np.ones((2_000, 4), "f4"), seed=0).nearest(
        np.full((3, 4), 2.0, "f4"), 5
    )
    assert distances_PN == pytest.approx(np.full((3, 5), 2.0))
    assert len(set(indices_PN[0])) == 5
