"""Maps of points: those that are routed alike lie together. UMAP lays out the landmarks; every
other point lies among the landmarks nearest to it.

P = points, M = landmarks, S = components of the truncated SVD, N = neighbours, C = dimensions that
are clustered.
"""

import warnings
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from sklearn.cluster import HDBSCAN
from sklearn.neighbors import NearestNeighbors

from analysis.agreement import agreement
from analysis.nearest import AT_ONCE, Landmarks
from analysis.projection import Points
from data.labels import TOO_LITTLE

CLUSTER_DIMENSIONS = 5  # of the UMAP that is clustered
NEIGHBORS = 15
PLACED_BY = 5  # landmarks
REACH = 10  # times the spacing of landmarks on the map: those further apart have no mean
STEPS = 1_000_000  # landmarks times epochs of UMAP; few points have EPOCHS
EPOCHS = 500
MIN_POINTS = 10  # fewer have no neighbourhoods: they keep the SVD's picture
ALIKE = 1e-6  # points within this distance are one point, and keep it too
NOISE = -1  # the cluster of points that HDBSCAN leaves out


@dataclass(frozen=True, slots=True)
class Map:
    """x, y, cluster and `distance`, to the nearest (other) landmark in the components of the SVD:
    what lies far from all of them has no neighbours, wherever it is drawn."""

    frame: pd.DataFrame  # the landmarks
    rest: pd.DataFrame
    parameters: dict[str, object]


def svd_map(points: Points) -> Map:
    """x, y of the landmarks from the SVD, at once; nothing is clustered yet. For too few points
    this is all."""
    # The first component of a table that is not centred is near its mean: the next two tell more.
    reduced_MS = points.reduced_PS[: len(points.frame)]
    xy_M2 = np.hstack([reduced_MS[:, 1:3], np.zeros((len(reduced_MS), 2))])[:, :2]
    cluster_M, unknown_M = np.full(len(xy_M2), NOISE), np.full(len(xy_M2), np.nan)
    frame = _placed(points.frame, xy_M2, cluster_M, unknown_M)
    told = {"method": "svd", "points": len(frame), "clusters": None}
    return Map(frame, frame.iloc[:0], points.parameters | told)


def umap_map(points: Points) -> Map:
    """x, y from UMAP; clusters from HDBSCAN in a UMAP of more dimensions, not in the picture."""
    reduced_MS = points.reduced_PS[: len(points.frame)]
    num_landmarks, components = reduced_MS.shape
    alike = np.ptp(reduced_MS, 0).max() < ALIKE
    if num_landmarks < MIN_POINTS or components < 2 or alike:
        return svd_map(points)
    neighbors = _neighbors(reduced_MS)
    dimensions = min(CLUSTER_DIMENSIONS, components)
    xy_M2 = _umap(reduced_MS, neighbors, dimensions=2, min_dist=0.1, seed=points.seed)
    dense_MC = _umap(reduced_MS, neighbors, dimensions=dimensions, min_dist=0.0, seed=points.seed)
    density = HDBSCAN(min_cluster_size=points.min_cluster_size, min_samples=5, copy=True)
    cluster_M = density.fit_predict(dense_MC)
    frame = _placed(points.frame, xy_M2, cluster_M, neighbors[1][:, 1])
    rest = _among_landmarks(points, xy_M2, cluster_M)
    cluster_P = np.concatenate([frame.cluster, rest.cluster])
    return Map(
        frame,
        rest,
        points.parameters
        | {
            "method": "umap",
            "landmarks": num_landmarks,
            "n_neighbors": neighbors[0].shape[1],
            "epochs": _epochs(num_landmarks),
            "cluster_dimensions": dimensions,
            "min_cluster_size": points.min_cluster_size,
            "clusters": len(set(cluster_M) - {NOISE}),
            "noise_share": float((cluster_P == NOISE).mean()),
            "agreement": _compared(points, cluster_P),
        },
    )


def _among_landmarks(points: Points, xy_M2: np.ndarray, cluster_M: np.ndarray) -> pd.DataFrame:
    """The rest: among the places of the nearest landmarks, and in the cluster of most of them."""
    num_landmarks = len(points.frame)
    landmarks = Landmarks.of(points.reduced_PS[:num_landmarks], seed=points.seed)
    rest_PS = points.reduced_PS[num_landmarks:]
    indices_PN, distances_PN = landmarks.nearest(rest_PS, min(PLACED_BY, num_landmarks))
    reach, parts = REACH * _spacing(xy_M2), range(0, len(rest_PS), AT_ONCE)
    placed = [
        _between(xy_M2[indices_PN[at : at + AT_ONCE]], distances_PN[at : at + AT_ONCE], reach=reach)
        for at in parts
    ]
    xy_P2 = np.concatenate([np.empty((0, 2)), *placed])
    cluster_PN = cluster_M.astype(np.int16)[indices_PN]
    votes_PN = (cluster_PN[:, :, None] == cluster_PN[:, None, :]).sum(-1, dtype=np.int8)
    cluster_P = np.take_along_axis(cluster_PN, votes_PN.argmax(1)[:, None], 1)[:, 0]
    return _placed(points.rest, xy_P2, cluster_P, distances_PN[:, 0])


def _between(xy_PN2: np.ndarray, distances_PN: np.ndarray, *, reach: float) -> np.ndarray:
    """The mean of places by the inverse square of the distance, of those within `reach` of the most
    central of them: of two clusters that lie apart it is in one, and never between."""
    nearness_PN = 1 / np.maximum(distances_PN.astype(np.float64), ALIKE) ** 2
    across_PNN, up_PNN = (
        places[:, :, None] - places[:, None] for places in np.moveaxis(xy_PN2, 2, 0)
    )
    apart_PNN = np.hypot(across_PNN, up_PNN)
    central_P = (apart_PNN * nearness_PN[:, None]).sum(-1).argmin(1)
    apart_PN = apart_PNN[np.arange(len(central_P)), central_P]
    weight_PN = nearness_PN * np.maximum(1 - (apart_PN / reach) ** 2, 0) ** 2
    return (xy_PN2 * weight_PN[:, :, None]).sum(1) / weight_PN.sum(1)[:, None]


def _spacing(xy_M2: np.ndarray) -> float:
    """From a landmark to the nearest other one on the map, typically."""
    distance_M2, _ = NearestNeighbors(n_neighbors=2).fit(xy_M2).kneighbors(xy_M2)
    return float(np.maximum(np.median(distance_M2[:, 1]), np.finfo(np.float32).tiny))


def _placed(
    frame: pd.DataFrame, xy_P2: np.ndarray, cluster_P: np.ndarray, distance_P: np.ndarray
) -> pd.DataFrame:
    return frame.assign(
        x=xy_P2[:, 0].astype(np.float32),
        y=xy_P2[:, 1].astype(np.float32),
        cluster=cluster_P.astype(np.int16),
        distance=distance_P.astype(np.float32),
    )


def _compared(points: Points, cluster_P: np.ndarray) -> dict[str, float | int] | None:
    """Clusters of all points whose domain is known, beside these."""
    domain = pd.concat([points.frame.domain, points.rest.domain], ignore_index=True)
    known_P = (domain != TOO_LITTLE).to_numpy()
    if points.groups_P is None or domain[known_P].nunique() < 2:
        return None
    groups = points.groups_P[known_P]
    return asdict(agreement(domain[known_P], cluster_P[known_P], groups, seed=points.seed))


def _neighbors(reduced_MS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact, indices and distances: UMAP's own search would compile for half a minute first."""
    neighbors = min(NEIGHBORS, len(reduced_MS) - 1)
    search = NearestNeighbors(n_neighbors=neighbors, algorithm="brute").fit(reduced_MS)
    distances_MN, indices_MN = search.kneighbors(reduced_MS)
    return indices_MN, distances_MN.astype(np.float32)


def _epochs(num_landmarks: int) -> int:
    return min(EPOCHS, STEPS // num_landmarks)


def _umap(
    reduced_MS: np.ndarray,
    neighbors: tuple[np.ndarray, np.ndarray],
    *,
    dimensions: int,
    min_dist: float,
    seed: int,
) -> np.ndarray:
    from umap import UMAP  # takes seconds to import

    layout = UMAP(
        n_neighbors=neighbors[0].shape[1],
        n_components=dimensions,
        n_epochs=_epochs(len(reduced_MS)),
        min_dist=min_dist,
        init="pca",
        random_state=seed,
        n_jobs=1,
        precomputed_knn=neighbors,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precomputed_knn")  # no points are added later
        return layout.fit_transform(reduced_MS)
