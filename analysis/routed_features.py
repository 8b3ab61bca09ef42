"""Routing as features: square roots of shares, a column an expert, read a part at a time.

P = points, F = features: a layer and an expert. The square root of a distribution makes Euclidean
distance the Hellinger distance.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from duckdb import DuckDBPyConnection
from scipy.sparse import csc_matrix, csr_matrix, hstack

from analysis import document_rows, queries
from analysis.arrays import places
from analysis.queries import TraceInfo
from analysis.reduction import add_choices
from data.connection import TraceError, interruptible
from data.routing import NO_EXPERT

CHOICES_AT_ONCE = 1 << 23  # rows of document_load()
DECISIONS_AT_ONCE = 1 << 21  # of layers about tokens
READERS = 2  # parts at a time: their choices are added up while DuckDB reads on
NEAR = 4  # documents with fewer between them are read together
FAR = 64  # documents: tokens with more between them are asked for apart, which takes as long
DAMAGED, AGAIN = "this trace is damaged or was altered", "copy it again or capture again"
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
    """One number for layer and expert. TraceError: this trace has no such layer or expert."""
    layer_id, expert_id = np.asarray(rows["layer_id"]), np.asarray(rows["expert_id"])
    _require_below(layer_id, info.num_layers, "layer")
    _require_below(expert_id, info.num_experts, "expert")
    return layer_id.astype(np.int32) * np.int32(info.num_experts) + expert_id


def reduced_parts(
    con: DuckDBPyConnection, tokens: pd.DataFrame, info: TraceInfo, components_FS: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Which of the tokens (doc_id, position, ascending), and their token_features() in these
    components. Tokens that lie near them in the trace are read and left out."""
    at_once = max(1, DECISIONS_AT_ONCE // info.num_layers)
    place_P = places(tokens)
    far = np.flatnonzero(np.diff(place_P >> np.uint64(32)) > FAR) + 1

    def reduced(of_P: np.ndarray) -> tuple[slice, np.ndarray]:
        here = slice(int(of_P[0]), int(of_P[-1]) + 1)
        ends = [divmod(int(place_P[end]), 2**32) for end in (here.start, here.stop - 1)]
        sum_PS = np.zeros((len(of_P), components_FS.shape[1]), np.float32)
        with interruptible(con.cursor()) as own:
            for batch in _whole_tokens(document_rows.choice_lists(own, ends[0], ends[1])):
                lists = _flat(batch)
                _require_below(lists["layer_id"], info.num_layers, "layer")
                columns = [lists[name] for name in ("layer_id", "end", "expert_id", "weight")]
                given = info.num_experts, place_P[here], components_FS
                add_choices(places(lists), *columns, *given, sum_PS)
        return here, sum_PS

    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(reduced, _pieces(np.split(np.arange(len(tokens)), far), at_once))


def document_parts(
    con: DuckDBPyConnection, doc_ids: np.ndarray, info: TraceInfo
) -> Iterator[tuple[np.ndarray, Rows]]:
    """The documents (doc_ids, ascending) and their document_load(), a part at a time."""
    most = info.num_layers * info.num_experts  # rows of a document
    at_once = max(1, CHOICES_AT_ONCE // most)
    far = np.flatnonzero(np.diff(doc_ids) > NEAR) + 1
    for here in _pieces(np.split(doc_ids, far), at_once):
        rows = queries.document_load_part(con, int(here[0]), int(here[-1]))
        known = np.isin(rows["doc_id"], here)
        yield here, rows if known.all() else {name: rows[name][known] for name in rows}


def expert_features(con: DuckDBPyConnection, info: TraceInfo, doc_ids: np.ndarray) -> csr_matrix:
    """The share of every document in an expert's choices, by expert_index()."""
    num_experts = info.num_layers * info.num_experts
    columns, total_E = [], np.zeros(num_experts)
    for ids, rows in document_parts(con, doc_ids, info):
        expert = expert_index(rows, info)
        total_E += np.bincount(expert, weights=rows["tokens"], minlength=num_experts)
        place = np.searchsorted(ids, rows["doc_id"])
        columns.append(_by_document(expert, place, rows, (num_experts, len(ids))))
    if not columns:
        return csr_matrix((num_experts, 0))
    features_EF = hstack(columns, format="csr", dtype=np.float32)
    features_EF.data /= np.repeat(total_E, np.diff(features_EF.indptr))
    np.sqrt(features_EF.data, out=features_EF.data)
    return features_EF


def _by_document(
    expert: np.ndarray, place: np.ndarray, rows: Rows, shape: tuple[int, int]
) -> csc_matrix:
    return csc_matrix((rows["tokens"].astype(np.float32), (expert, place)), shape=shape)


def _whole_tokens(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, but no batch ends within a token."""
    kept = None
    for batch in batches:
        rows = batch if kept is None else pa.concat_batches([kept, batch])
        place_R = places({name: rows[name].to_numpy() for name in ("doc_id", "position")})
        others = np.flatnonzero(place_R != place_R[-1:])
        end = int(others[-1]) + 1 if len(others) else 0
        if end:
            yield rows.slice(0, end)
        kept = rows.slice(end)
    if kept is not None:
        yield kept


def _flat(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """doc_id, position, layer_id of lists, where each ends, and expert_id, weight of all choices:
    NO_EXPERT where none ran, NaN where no weight is known. TraceError: a list lacks weights."""
    lists, weights = batch["expert_ids"], batch["weights"]
    alike = pc.equal(lists.value_lengths(), weights.value_lengths())
    if not pc.all(alike, min_count=0).as_py():  # those without any are not compared
        raise TraceError(f"{DAMAGED}: weights are not as many as choices; {AGAIN}")
    length, expert_id = lists.value_lengths().to_numpy(), lists.flatten()
    weight = weights.flatten().to_numpy()
    if weights.null_count:
        known = np.repeat(weights.is_valid().to_numpy(zero_copy_only=False), length)
        weight, some = np.full(len(expert_id), np.nan, np.float32), weight
        weight[known] = some
    columns = {name: batch[name].to_numpy() for name in ("doc_id", "position", "layer_id")}
    numbers = expert_id.fill_null(NO_EXPERT % 2**16).to_numpy().view(np.int16)
    return columns | {"end": np.cumsum(length), "expert_id": numbers, "weight": weight}


def _require_below(number: np.ndarray, count: int, what: str) -> None:
    """The rows of a large trace may be unchecked, and loops in machine code check nothing."""
    if (last := number.max(initial=0)) >= count:
        raise TraceError(f"{DAMAGED}: it names {what} {last} of {count}; {AGAIN}")


def _pieces(runs: list[np.ndarray], most: int) -> Iterator[np.ndarray]:
    for run in runs:
        for first in range(0, len(run), most):
            yield run[first : first + most]


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
