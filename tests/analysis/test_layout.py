from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import layout
from tests.analysis.points import two_kinds


def test_others_lie_among_the_landmarks_nearest_to_them() -> None:
    landmarks = two_kinds()
    kind_M = (landmarks.frame.domain == "code").to_numpy()
    xy_M2 = np.column_stack([10.0 * kind_M, np.zeros(60)])
    outlier_S = landmarks.reduced_PS[-1:] + 5
    points = replace(
        landmarks,
        rest=pd.DataFrame({"domain": ["math", "code", "code"]}),
        reduced_PS=np.concatenate([landmarks.reduced_PS, landmarks.reduced_PS[[0, -1]], outlier_S]),
    )
    rest = layout._among_landmarks(points, xy_M2, kind_M.astype(int))
    assert rest.x.tolist()[:2] == [0.0, 10.0]
    assert rest.cluster.tolist()[:2] == [0, 1]
    assert rest.distance[:2].max() < 1e-3 < 5 < rest.distance[2]  # it looks ordinary, and is not


def test_a_mean_is_of_places_that_lie_together() -> None:
    """Three places around (0, 0.5) and two far away, which are nearer in the components."""
    xy_PN2 = np.array([[(0.0, 0.0), (1, 0), (0, 1), (50, 50), (50, 51)]] * 3)
    alike, nearer, on_it = [1.0] * 5, [1, 2, 2, 1, 1], [1, 1, 1, 0, 1]
    placed = layout._between(xy_PN2, np.array([alike, nearer, on_it]), reach=1e6)
    assert placed[0] == pytest.approx([20.2, 20.4], abs=0.1)  # the mean of all, where all are near
    placed = layout._between(xy_PN2, np.array([alike, nearer, on_it]), reach=2.0)
    weights = np.array([9 / 16, 1 / 4, 1])  # the third is central: the others are 1 and √2 from it
    assert placed[0] == pytest.approx(np.array([1 / 4, 1]) / weights.sum())
    assert placed[1] == pytest.approx([50, 50.36], abs=0.01)  # (1, 0.5625) of two
    assert placed[2] == pytest.approx([50, 50])


def test_points_between_the_same_landmarks_have_places_of_their_own() -> None:
    landmarks, rng = two_kinds(600), np.random.default_rng(0)
    flat_PS = np.pad(rng.normal(size=(6_600, 2)), ((0, 0), (0, 6))).astype(np.float32)
    rest = pd.DataFrame({"domain": ["math"] * 6_000})
    points = replace(landmarks, rest=rest, reduced_PS=flat_PS)
    placed = layout._among_landmarks(points, flat_PS[:600, :2], np.zeros(600, int))
    assert placed.x.nunique() > 5_900
    apart_P2 = np.abs(placed[["x", "y"]].to_numpy() - flat_PS[600:, :2])
    assert np.median(apart_P2) < 0.03  # where they are


def test_few_landmarks_have_more_epochs() -> None:
    assert [layout._epochs(count) for count in (10, 5_000, 10_000)] == [500, 200, 100]
