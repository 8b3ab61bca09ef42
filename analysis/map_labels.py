"""What clusters of a map are called: the words, or the domains, that tell each from the others.

P = points, C = clusters, W = words (or domains).
"""

import numpy as np
import pandas as pd

from analysis.expert_clusters import typical_tokens

WORDS = 3  # of a name
MIN_WORD = 10  # points that have a word, in
MIN_WORD_GROUPS = 2  # groups of texts: a word of one text names no cluster
MOST_CELLS = 20_000_000  # of clusters by words: of more words, the most frequent


def cluster_words(cluster_P: np.ndarray, word_P: np.ndarray, unit_P: np.ndarray) -> pd.DataFrame:
    """The rows of typical_tokens(), `place` being the word, of at most WORDS words a cluster. Noise
    (cluster -1) has no name, but counts for what is typical."""
    count = int(cluster_P.max(initial=-1)) + 1
    known_W = _known(word_P, unit_P, most=MOST_CELLS // (count + 1))
    if not count or not len(known_W):
        return pd.DataFrame(columns=["cluster", "place", "tokens", "expected", "lift"])
    place_W = np.full(int(word_P.max()) + 1, -1)
    place_W[known_W] = np.arange(len(known_W))
    here_P = place_W[word_P]
    cell_P = np.where(cluster_P < 0, count, cluster_P).astype(np.int64) * len(known_W) + here_P
    size = (count + 1) * len(known_W)
    tokens_CW = np.bincount(cell_P[here_P >= 0], minlength=size).reshape(count + 1, -1)
    typical = typical_tokens(tokens_CW, np.append(np.arange(count), -1))
    best = typical[typical.groupby("cluster").cumcount() < WORDS]
    return best.assign(place=known_W[best.place]).reset_index(drop=True)


def _known(word_P: np.ndarray, unit_P: np.ndarray, *, most: int) -> np.ndarray:
    """Words that are frequent enough, in groups enough."""
    tokens_W = np.bincount(word_P)
    frequent_W = tokens_W >= MIN_WORD
    if frequent_W.sum() > most:
        frequent_W &= tokens_W >= np.sort(tokens_W)[-most]
    here = frequent_W[word_P]
    pair = np.unique(word_P[here].astype(np.int64) << 32 | unit_P[here])
    groups_W = np.bincount(pair >> 32, minlength=len(tokens_W))
    return np.flatnonzero(groups_W >= min(MIN_WORD_GROUPS, len(np.unique(unit_P))))


def middles(cluster_P: np.ndarray, places_2P: np.ndarray) -> np.ndarray:
    """The point of every cluster nearest to its medians [C]: a label never stands in a gap."""
    count = int(cluster_P.max(initial=-1)) + 1
    order_P = np.argsort(cluster_P, kind="stable")
    ends = np.searchsorted(cluster_P[order_P], np.arange(count + 1))
    middle_C = np.empty(count, dtype=int)
    for cluster in range(count):
        of_cluster = order_P[ends[cluster] : ends[cluster + 1]]
        here_2N = places_2P[:, of_cluster].astype(np.float32)
        away_N = ((here_2N - np.median(here_2N, axis=1)[:, None]) ** 2).sum(0)
        middle_C[cluster] = of_cluster[away_N.argmin()]
    return middle_C
