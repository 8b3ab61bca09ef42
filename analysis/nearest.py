"""The nearest landmarks of many points, looked for in the cells around each point.

M = landmarks, P = points, S = dimensions, N = neighbours. A cell is what is nearer to one of some
landmarks drawn at random than to the others of them.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.metrics import pairwise_distances_argmin
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors

IN_A_CELL = 80  # landmarks, on average
LOOKED_AT = 24  # cells around each point; of fewer, all, so that nothing is missed
AT_ONCE = 50_000  # points


@dataclass(frozen=True, slots=True)
class Landmarks:
    landmarks_MS: np.ndarray
    centres_CS: np.ndarray
    around: tuple[np.ndarray, ...]  # the landmarks in the cells looked at from each cell

    @classmethod
    def of(cls, landmarks_MS: np.ndarray, *, seed: int) -> Self:
        rng = np.random.default_rng(seed)
        cells = max(1, len(landmarks_MS) // IN_A_CELL)
        centres_CS = landmarks_MS[rng.choice(len(landmarks_MS), cells, replace=False)]
        cell_M = pairwise_distances_argmin(landmarks_MS, centres_CS)
        near_CC = euclidean_distances(centres_CS).argsort(1, kind="stable")[:, :LOOKED_AT]
        around = tuple(np.flatnonzero(np.isin(cell_M, near)) for near in near_CC)
        return cls(landmarks_MS, centres_CS, around)

    def nearest(self, points_PS: np.ndarray, neighbors: int) -> tuple[np.ndarray, np.ndarray]:
        """indices_PN and distances_PN, nearest first."""
        indices_PN = np.empty((len(points_PS), neighbors), np.int32)
        distances_PN = np.empty((len(points_PS), neighbors), np.float32)
        for first in range(0, len(points_PS), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            self._find(points_PS[part], indices_PN[part], distances_PN[part])
        return indices_PN, distances_PN

    def _find(
        self, points_PS: np.ndarray, indices_PN: np.ndarray, distances_PN: np.ndarray
    ) -> None:
        cell_P = pairwise_distances_argmin(points_PS, self.centres_CS)
        order_P = cell_P.argsort(kind="stable")
        ends_C = np.searchsorted(cell_P[order_P], np.arange(len(self.around) + 1))
        neighbors = indices_PN.shape[1]
        for cell, candidates in enumerate(self.around):
            here = order_P[ends_C[cell] : ends_C[cell + 1]]
            if not len(here):
                continue
            if len(candidates) < neighbors:
                candidates = np.arange(len(self.landmarks_MS))
            search = NearestNeighbors(n_neighbors=neighbors, algorithm="brute")
            found = search.fit(self.landmarks_MS[candidates]).kneighbors(points_PS[here])
            distances_PN[here], indices_PN[here] = found[0], candidates[found[1]]
