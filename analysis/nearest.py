"""The nearest landmarks of many points, looked for in the cells around each point.

M = landmarks, P = points, S = dimensions, N = neighbours. A cell (C) is what is nearer to one of
some landmarks drawn at random than to the others of them.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.metrics import pairwise_distances_argmin
from sklearn.metrics.pairwise import euclidean_distances

from data.compiled import FAST, compiled

IN_A_CELL = 80  # landmarks, on average
LOOKED_AT = 24  # cells around each point; of fewer, all, so that nothing is missed
AT_ONCE = 50_000  # points
THREADS = min(4, os.cpu_count() or 1)
STEP = 8  # dimensions that are added up at once


@compiled(fastmath=FAST)
def find_nearest(points_PS, landmarks_SM, square_M, indices_PN, distances_PN):  # type: ignore[no-untyped-def]
    """The nearest landmarks of every point and how far they are, nearest first; S is a multiple of
    STEP."""
    num_landmarks, neighbors = len(square_M), indices_PN.shape[1]
    apart_M, least_N = np.empty_like(square_M), np.empty(neighbors, np.float32)
    for p in range(len(points_PS)):
        apart_M[:] = square_M / 2  # half the squared distance, less the point's own square
        for s in range(0, len(landmarks_SM), 8):
            x, a = points_PS[p, s : s + 8], landmarks_SM[s : s + 8]
            x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
            a0, a1, a2, a3, a4, a5, a6, a7 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
            for m in range(num_landmarks):
                first = (x0 * a0[m] + x1 * a1[m]) + (x2 * a2[m] + x3 * a3[m])
                second = (x4 * a4[m] + x5 * a5[m]) + (x6 * a6[m] + x7 * a7[m])
                apart_M[m] -= first + second
        least_N[:] = np.inf
        for m in range(num_landmarks):
            if not apart_M[m] < least_N[-1]:
                continue
            n = neighbors - 1
            while n > 0 and apart_M[m] < least_N[n - 1]:
                least_N[n], indices_PN[p, n] = least_N[n - 1], indices_PN[p, n - 1]
                n -= 1
            least_N[n], indices_PN[p, n] = apart_M[m], m
        for n in range(neighbors):
            square = np.float32(0)
            for s in range(len(landmarks_SM)):
                away = points_PS[p, s] - landmarks_SM[s, indices_PN[p, n]]
                square += away * away
            distances_PN[p, n] = np.sqrt(square)


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
        return cls(_padded(landmarks_MS), _padded(centres_CS), around)

    def nearest(self, points_PS: np.ndarray, neighbors: int) -> tuple[np.ndarray, np.ndarray]:
        """indices_PN and distances_PN, nearest first."""
        indices_PN = np.zeros((len(points_PS), neighbors), np.int32)
        distances_PN = np.empty((len(points_PS), neighbors), np.float32)

        def find(first: int) -> None:
            part = slice(first, first + AT_ONCE)
            self._find(_padded(points_PS[part]), indices_PN[part], distances_PN[part])

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(find, range(0, len(points_PS), AT_ONCE)))
        return indices_PN, distances_PN

    def _find(
        self, points_PS: np.ndarray, indices_PN: np.ndarray, distances_PN: np.ndarray
    ) -> None:
        cell_P1 = np.zeros((len(points_PS), 1), np.int32)
        _search(points_PS, self.centres_CS, cell_P1, np.empty(cell_P1.shape, np.float32))
        order_P = cell_P1[:, 0].argsort(kind="stable")
        ends_C = np.searchsorted(cell_P1[order_P, 0], np.arange(len(self.around) + 1))
        for cell, candidates in enumerate(self.around):
            here = order_P[ends_C[cell] : ends_C[cell + 1]]
            if not len(here):
                continue
            if len(candidates) < indices_PN.shape[1]:
                candidates = np.arange(len(self.landmarks_MS))
            found_PN, away_PN = indices_PN[here], distances_PN[here]
            _search(points_PS[here], self.landmarks_MS[candidates], found_PN, away_PN)
            indices_PN[here], distances_PN[here] = candidates[found_PN], away_PN


def _search(
    points_PS: np.ndarray, others_MS: np.ndarray, indices_PN: np.ndarray, distances_PN: np.ndarray
) -> None:
    others_SM = np.ascontiguousarray(others_MS.T)
    find_nearest(points_PS, others_SM, (others_MS**2).sum(1), indices_PN, distances_PN)


def _padded(points_PS: np.ndarray) -> np.ndarray:
    """With dimensions in which all are 0."""
    return np.pad(
        points_PS.astype(np.float32, copy=False), ((0, 0), (0, -points_PS.shape[1] % STEP))
    )
