"""Routing as features: square roots of shares, a column an expert, read a part at a time.

P = points, F = features: a layer and an expert. The square root of a distribution makes Euclidean
distance the Hellinger distance.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection
from scipy.sparse import csr_matrix

from analysis import queries
from analysis.queries import TraceInfo
from data.routing import NO_EXPERT

CHOICES_AT_ONCE = 1 << 23
Rows = Mapping[str, np.ndarray]


def token_features(rows: Rows, point: np.ndarray, num_points: int, info: TraceInfo) -> csr_matrix:
    """Of the choices of points: the mixing weight of each expert over its layer's sum. Where a
    source gives ids only, all count alike."""
    weight = rows["weight"]
    if np.isnan(weight.sum()):
        weight = np.where(np.isnan(weight), np.float32(1), weight)
    return _features(rows, weight, point, num_points, info)


def document_features(rows: Rows, doc_ids: np.ndarray, info: TraceInfo) -> csr_matrix:
    """The share of each expert in its layer's choices; `doc_ids` ascend."""
    point = np.searchsorted(doc_ids, rows["doc_id"])
    return _features(rows, rows["tokens"], point, len(doc_ids), info)


def first_choices(rows: Rows, num_points: int, info: TraceInfo) -> dict[str, np.ndarray]:
    """expert_<layer_id>: the expert of largest weight of every point."""
    first = rows["rank"] == 0
    expert_LP = np.full((info.num_layers, num_points), NO_EXPERT, np.int16)
    expert_LP[rows["layer_id"][first], rows["point"][first]] = rows["expert_id"][first]
    return {f"expert_{layer_id}": expert_P for layer_id, expert_P in enumerate(expert_LP)}


def expert_index(rows: Rows | pd.DataFrame, info: TraceInfo) -> np.ndarray:
    """One number for layer and expert."""
    return np.asarray(rows["layer_id"]).astype(np.int32) * np.int32(info.num_experts) + np.asarray(
        rows["expert_id"]
    )


def token_parts(
    con: DuckDBPyConnection, tokens: pd.DataFrame, info: TraceInfo
) -> Iterator[tuple[slice, csr_matrix]]:
    """Which of the tokens (doc_id, position, ascending), and their features. Tokens between them in
    the trace are read and left out."""
    choices = max(1.0, queries.expert_tokens(con).tokens.sum() / info.num_tokens)
    at_once = max(1, round(CHOICES_AT_ONCE / choices))
    place_P = _places(tokens)
    for first in range(0, len(tokens), at_once):
        here = slice(first, min(first + at_once, len(tokens)))
        ends = [divmod(int(place_P[end]), 2**32) for end in (here.start, here.stop - 1)]
        rows = _ordered(queries.routing_part(con, ends[0], ends[1]))
        place_R = _places(rows)
        starts = np.flatnonzero(np.append(True, place_R[1:] != place_R[:-1])[: len(place_R)])
        lengths = np.diff(np.append(starts, len(place_R)))
        point = np.searchsorted(place_P[here], place_R[starts])
        known = place_P[here][np.minimum(point, here.stop - first - 1)] == place_R[starts]
        if not known.all():
            kept = np.repeat(known, lengths)
            rows = {name: column[kept] for name, column in rows.items()}
        point = np.repeat(point[known].astype(np.int32), lengths[known])
        yield here, token_features(rows, point, here.stop - first, info)


def document_parts(
    con: DuckDBPyConnection, doc_ids: np.ndarray, info: TraceInfo
) -> Iterator[tuple[np.ndarray, Rows]]:
    """The documents (doc_ids, ascending) and their document_load(), a part at a time."""
    most = info.num_layers * info.num_experts  # rows of a document
    at_once = max(1, CHOICES_AT_ONCE // most)
    for first in range(0, len(doc_ids), at_once):
        here = doc_ids[first : first + at_once]
        rows = queries.document_load_part(con, int(here[0]), int(here[-1]))
        known = np.isin(rows["doc_id"], here)
        yield here, rows if known.all() else {name: rows[name][known] for name in rows}


def _features(
    rows: Rows, value: np.ndarray, point: np.ndarray, num_points: int, info: TraceInfo
) -> csr_matrix:
    """Rows in any order; quickest in that of points and layers."""
    cell = point.astype(np.int64) * info.num_layers + rows["layer_id"]
    feature = expert_index(rows, info)
    if (cell[1:] < cell[:-1]).any():
        order = cell.argsort(kind="stable")
        cell, feature, value, point = cell[order], feature[order], value[order], point[order]
    starts = np.flatnonzero(np.append(True, cell[1:] != cell[:-1])[: len(cell)])
    lengths = np.diff(np.append(starts, len(cell)))
    total = np.add.reduceat(value.astype(np.float32, copy=False), starts) if len(cell) else value
    share = value / np.maximum(np.repeat(total, lengths), np.finfo(np.float32).tiny)
    ends = np.searchsorted(point, np.arange(num_points + 1))
    shape = num_points, info.num_layers * info.num_experts
    return csr_matrix((np.sqrt(share, dtype=np.float32), feature, ends), shape=shape)


def _ordered(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By token."""
    place = _places(rows)
    if not (place[1:] < place[:-1]).any():
        return rows
    order = place.argsort(kind="stable")
    return {name: column[order] for name, column in rows.items()}


def _places(rows: Rows | pd.DataFrame) -> np.ndarray:
    doc_id, position = np.asarray(rows["doc_id"]), np.asarray(rows["position"])
    return (doc_id.astype(np.uint64) << np.uint64(32)) | position.astype(np.uint64)
