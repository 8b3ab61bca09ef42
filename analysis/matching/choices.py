"""What two traces chose at the places that they share.

T = tokens of a trace, P = places (analysis/matching/texts.py), L = MoE layers, K = the most choices
of a token in a layer.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as compute
from duckdb import DuckDBPyConnection

from analysis import document_rows
from analysis.arrays import places
from analysis.matching.texts import MatchedTexts
from analysis.queries import TraceInfo
from data.routing import NO_EXPERT


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Of a trace at every place, in the order of ranks."""

    ids_PLK: np.ndarray  # int16; NO_EXPERT: none
    weights_PLK: np.ndarray  # float32; NaN where unknown, and where none
    margin_PL: np.ndarray  # float32; NaN where unknown

    def of(self, place: np.ndarray) -> "Choices":
        """At some of the places, or in another order."""
        return Choices(
            ids_PLK=self.ids_PLK[place],
            weights_PLK=self.weights_PLK[place],
            margin_PL=self.margin_PL[place],
        )


def first_choices_at(con: DuckDBPyConnection, info: TraceInfo, matched: MatchedTexts) -> Choices:
    return _choices(con, info, matched.first).of(matched.row_P)


def second_choices_at(con: DuckDBPyConnection, info: TraceInfo, matched: MatchedTexts) -> Choices:
    return _choices(con, info, matched.second).of(matched.other_row_P)


def _choices(con: DuckDBPyConnection, info: TraceInfo, tokens: pd.DataFrame) -> Choices:
    doc_ids = tokens.doc_id.unique().tolist()
    most = int(tokens.position.max()) + 1
    place_T = places(tokens)
    lists = document_rows.choice_lists_of(con, doc_ids)
    batches = [batch.filter(compute.less(batch["position"], most)) for batch in lists]
    shape = len(tokens), info.num_layers
    longest = max([1, *map(_longest, batches)])
    ids_TLK = np.full((*shape, longest), NO_EXPERT, np.int16)
    weights_TLK = np.full((*shape, longest), np.nan, np.float32)
    for batch in batches:
        _fill(batch, place_T, ids_TLK, weights_TLK)
    margin_TL = np.full(shape, np.nan, np.float32)
    rows = document_rows.margins_of(con, doc_ids, most=most)
    margin_TL[np.searchsorted(place_T, places(rows)), rows["layer_id"]] = rows["margin"]
    return Choices(ids_PLK=ids_TLK, weights_PLK=weights_TLK, margin_PL=margin_TL)


def _longest(batch: pa.RecordBatch) -> int:
    """Ranks that its lists have; a list may have gaps, where an expert did not run."""
    length_R = batch["expert_ids"].value_lengths().fill_null(0).to_numpy()
    return int((batch["first_rank"].to_numpy().astype(np.int64) + length_R).max(initial=0))


def _fill(
    batch: pa.RecordBatch, place_T: np.ndarray, ids_TLK: np.ndarray, weights_TLK: np.ndarray
) -> None:
    lists, weights = batch["expert_ids"], batch["weights"]
    rows = {name: batch[name].to_numpy() for name in ("doc_id", "position")}
    length_R = lists.value_lengths().fill_null(0).to_numpy()
    token_C = np.repeat(np.searchsorted(place_T, places(rows)), length_R)
    layer_C = np.repeat(batch["layer_id"].to_numpy(), length_R)
    start_R = np.cumsum(length_R) - length_R
    rank_C = np.arange(length_R.sum()) - np.repeat(start_R, length_R)
    rank_C += np.repeat(batch["first_rank"].to_numpy().astype(np.int64), length_R)
    expert_C = lists.flatten().cast(pa.int32()).fill_null(NO_EXPERT).to_numpy()
    at_C = token_C, layer_C, rank_C
    ids_TLK[at_C] = expert_C
    known_R = weights.is_valid().to_numpy(zero_copy_only=False)
    known_C = np.repeat(known_R & (weights.value_lengths().fill_null(0).to_numpy() > 0), length_R)
    if known_C.any():
        weights_TLK[tuple(index_C[known_C] for index_C in at_C)] = weights.flatten().to_numpy()
