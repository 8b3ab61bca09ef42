"""The labels of the clusters of a map, where they lie."""

import numpy as np
import streamlit as st

from analysis.map_labels import cluster_words, middles
from app.trace import Trace
from app.views.domain_clusters.map_points import BY_KEY, MapPoints
from app.views.shared.theme import token_mark, visible

LONGEST = 24  # characters of a word


@st.cache_resource(max_entries=6, show_spinner=False, hash_funcs=BY_KEY)
def labels(trace: Trace, points: MapPoints) -> list[dict[str, object]]:
    """cluster, x, y (of the map's square), size, words; the largest cluster first. Words are the
    tokens that tell a cluster from the others, of prompts and experts the domain of most."""
    cluster_P = points.frame.cluster.to_numpy()
    if not points.clusters:
        return []
    middle_C = middles(cluster_P, points.places_2P)
    words_C = _tokens(points) if points.what == "tokens" else _domains(points)
    size_C = np.bincount(cluster_P[cluster_P >= 0], minlength=len(middle_C))
    order = np.argsort(-size_C, kind="stable").tolist()
    places = [points.places_2P[:, middle_C[cluster]].tolist() for cluster in order]
    return [
        {
            "cluster": cluster,
            "x": x,
            "y": y,
            "size": int(size_C[cluster]),
            "words": words_C[cluster],
        }
        for cluster, (x, y) in zip(order, places, strict=True)
    ]


def _tokens(points: MapPoints) -> dict[int, list[str]]:
    frame = points.frame
    word_P = frame.text.cat.codes.to_numpy().astype(np.int64)
    typical = cluster_words(frame.cluster.to_numpy(), word_P, frame.unit.to_numpy())
    words_C: dict[int, list[str]] = {cluster: [] for cluster in range(points.clusters)}
    for cluster, place in zip(typical.cluster.tolist(), typical.place, strict=True):
        word = token_mark(str(frame.text.cat.categories[place]).strip(" "))[:LONGEST]
        if word not in words_C[cluster]:
            words_C[cluster].append(word)
    return words_C


def _domains(points: MapPoints) -> dict[int, list[str]]:
    of_cluster = points.frame.groupby("cluster").domain
    return {
        int(str(cluster)): [visible(str(counts.index[0])), f"{counts.iloc[0]:.0%}"]
        for cluster, counts in (
            (cluster, domains.value_counts(normalize=True)) for cluster, domains in of_cluster
        )
    }
