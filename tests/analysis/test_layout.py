from dataclasses import replace

import numpy as np
import pandas as pd

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


def test_few_landmarks_have_more_epochs() -> None:
    assert [layout._epochs(count) for count in (10, 5_000, 10_000)] == [500, 200, 100]
