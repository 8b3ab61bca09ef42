"""The labels of the clusters of a map, where they lie."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.map_labels import cluster_words, middles
from app.trace import Trace
from app.views.domain_clusters.map_points import BY_KEY, MapPoints
from app.views.shared.theme import token_mark, visible
from data.labels import OWN_WORDS

LONGEST = 24  # characters of a word


@st.cache_resource(max_entries=6, show_spinner=False, hash_funcs=BY_KEY)
def labels(trace: Trace, points: MapPoints) -> list[dict[str, object]]:
    """cluster, x, y (of the map's square), size, words; the largest cluster first. Words are the
    tokens that tell a cluster from the others, of prompts and experts a domain with its share."""
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
    usual = points.frame.domain.value_counts(normalize=True)
    shares = points.frame.groupby("cluster").domain.value_counts(normalize=True)
    return {
        int(cluster): _domain_of(shares[cluster], usual)
        for cluster in shares.index.unique("cluster").to_numpy()
    }


def _domain_of(shares: pd.Series, usual: pd.Series) -> list[str]:
    """Of most points; where most have none, that which is most beyond its share of all points."""
    name = str(shares.index[0])
    if name in OWN_WORDS:
        named = shares[~shares.index.isin(OWN_WORDS) & (shares > 0)]
        if named.empty:
            return ["no domain"]
        beyond = (named - usual[named.index]) / usual[named.index] ** 0.5
        name = str(beyond.idxmax())
    return [visible(name), f"{shares[name]:.0%}"]
