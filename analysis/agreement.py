"""Clusters beside labels: how far they agree, and how far they would by chance.

P = points, N = groups, G = labels, C = clusters.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import coo_matrix, csr_matrix

SHUFFLES = 20
ROUNDING = 1e-12  # nats: less information is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Clusters against domains, each beside its mean over domains shuffled over groups. Noise is a
    class."""

    points: int
    nmi: float
    ari: float
    purity: float
    shuffled_nmi: float
    shuffled_ari: float
    shuffled_purity: float


def agreement(labels: ArrayLike, clusters: ArrayLike, groups: ArrayLike, *, seed: int) -> Agreement:
    """NMI, ARI and purity of clusters against labels, beside labels shuffled over groups.

    A group has one label, and all of its points get the same one when labels are shuffled.
    """
    label_ids_P, names = pd.factorize(np.asarray(labels))
    if len(names) < 2:
        raise ValueError(
            f"{len(names)} domain: agreement of clusters and domains needs two or more"
        )
    _, first, group_P = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    label_of_group = label_ids_P[first]
    assert (label_of_group[group_P] == label_ids_P).all(), "a group has labels of two kinds"
    cluster_P = np.unique(np.asarray(clusters), return_inverse=True)[1]
    points_NC = coo_matrix((np.ones(len(group_P), np.int64), (group_P, cluster_P))).tocsr()
    rng = np.random.default_rng(seed)
    shuffled = [_scores(rng.permutation(label_of_group), points_NC) for _ in range(SHUFFLES)]
    nmi, ari, purity = _scores(label_of_group, points_NC)
    baseline = np.mean(shuffled, 0).tolist()
    return Agreement(
        points=len(group_P),
        nmi=nmi,
        ari=ari,
        purity=purity,
        shuffled_nmi=baseline[0],
        shuffled_ari=baseline[1],
        shuffled_purity=baseline[2],
    )


def _scores(label_of_group: np.ndarray, points_NC: csr_matrix) -> tuple[float, float, float]:
    """NMI, ARI and purity of the table of labels and clusters: groups are added up, not points."""
    groups = np.arange(len(label_of_group))
    member_GN = coo_matrix((np.ones(len(groups), np.int64), (label_of_group, groups)))
    points_GC = (member_GN.tocsr() @ points_NC).toarray()
    purity = points_GC.max(0).sum() / points_GC.sum()
    return _nmi(points_GC), _ari(points_GC), float(purity)


def _nmi(points_GC: np.ndarray) -> float:
    mean_entropy = (_entropy(points_GC.sum(0)) + _entropy(points_GC.sum(1))) / 2
    information = 2 * mean_entropy - _entropy(points_GC.ravel())
    return max(0.0, information / mean_entropy) if information > ROUNDING else 0.0


def _ari(points_GC: np.ndarray) -> float:
    """In pairs of points: those together in both, beyond what chance gives."""
    together = _pairs(points_GC.ravel())
    in_labels, in_clusters = _pairs(points_GC.sum(1)), _pairs(points_GC.sum(0))
    by_chance = in_labels * in_clusters / _pairs(points_GC.sum(keepdims=True).ravel())
    most = (in_labels + in_clusters) / 2
    return 1.0 if most == by_chance else (together - by_chance) / (most - by_chance)


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _pairs(counts: np.ndarray) -> float:
    counts = counts.astype(float)
    return float((counts * (counts - 1)).sum() / 2)
