"""Clusters beside labels: how far they agree, and how far they would by chance.

P = points.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

SHUFFLES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Clusters against domains, each beside its mean over domains shuffled over groups. Noise is a
    class."""

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
    cluster_ids_P = np.asarray(clusters)
    _, first, group_P = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    label_of_group = label_ids_P[first]
    assert (label_of_group[group_P] == label_ids_P).all(), "a group has labels of two kinds"
    rng = np.random.default_rng(seed)
    shuffled = [
        _scores(rng.permutation(label_of_group)[group_P], cluster_ids_P) for _ in range(SHUFFLES)
    ]
    nmi, ari, purity = _scores(label_ids_P, cluster_ids_P)
    baseline = np.mean(shuffled, 0).tolist()
    return Agreement(
        nmi=nmi,
        ari=ari,
        purity=purity,
        shuffled_nmi=baseline[0],
        shuffled_ari=baseline[1],
        shuffled_purity=baseline[2],
    )


def _scores(label_ids_P: np.ndarray, cluster_ids_P: np.ndarray) -> tuple[float, float, float]:
    majority = pd.crosstab(cluster_ids_P, label_ids_P).to_numpy().max(1).sum()
    return (
        float(normalized_mutual_info_score(label_ids_P, cluster_ids_P)),
        float(adjusted_rand_score(label_ids_P, cluster_ids_P)),
        float(majority / len(label_ids_P)),
    )
