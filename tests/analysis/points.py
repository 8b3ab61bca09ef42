"""Points of two kinds, to be mapped."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from analysis import projection


def two_kinds(num_points: int = 60) -> projection.Points:
    """Half of the points choose among experts 0 to 3, half among 4 to 7."""
    rng = np.random.default_rng(0)
    kind_P = np.repeat([0, 1], num_points // 2)
    features_PF = np.zeros((num_points, 8))
    for point, kind in enumerate(kind_P):
        features_PF[point, 4 * kind : 4 * kind + 4] = np.sqrt(rng.dirichlet(np.full(4, 5.0)))
    frame = pd.DataFrame({"domain": np.array(["math", "code"])[kind_P]})
    return projection._points(
        frame,
        csr_matrix(features_PF),
        groups_P=np.arange(num_points),
        seed=0,
        total=num_points,
        smallest_share=1 / 10,
    )
