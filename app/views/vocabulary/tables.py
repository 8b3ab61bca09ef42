"""What the page Vocabulary reads of a trace, computed once."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from duckdb import DuckDBPyConnection

from analysis import arrays, information_table, queries, vocabulary
from analysis import definitions as definitions_of
from analysis.definition_table import TraceArrays, definitions_table
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH
from analysis.queries import TraceInfo
from analysis.vocabulary_rows import first_tokens, layer_row, layer_tests, with_q
from analysis.vocabulary_tests import id_columns
from app import sidecars
from app.trace import BY_IDENTITY, Trace
from data.sidecar import Sidecar

WHOLE = 1_000_000  # tokens times layers that a page counts at once; else only the layer chosen
COMING = "not computed yet"


def summary(trace: Trace) -> pd.DataFrame:
    """vocabulary_rows() from beside the trace, or at once."""
    stored = trace.beside(sidecars.VOCABULARY)
    return with_q(stored.frame) if isinstance(stored, Sidecar) else _summary(trace)


def is_whole(trace: Trace) -> bool:
    """Every layer has a row without a long wait."""
    quick = trace.info.num_tokens * trace.info.num_layers <= WHOLE
    return quick or isinstance(trace.beside(sidecars.VOCABULARY), Sidecar)


def summary_with(trace: Trace, layer_id: int) -> pd.DataFrame:
    """The summary, or until it is whole the row of one layer among empty ones."""
    if is_whole(trace):
        return summary(trace)
    empty = {"token_ids": 0, "n_documents": 0, "n_groups": 0, "n_tokens": 0, "reason": COMING}
    rows = [_layer(trace, layer)[0] if layer == layer_id else empty for layer in trace.layers]
    table = pd.DataFrame(rows).rename_axis("layer_id").reset_index()
    return with_q(table).assign(q=pd.array([pd.NA] * len(rows), dtype="Float64"))


def information(trace: Trace) -> pd.DataFrame | None:
    """information_rows() with q, from beside the trace if they are there."""
    stored = trace.beside(sidecars.INFORMATION)
    return information_table.with_q(stored.frame) if isinstance(stored, Sidecar) else None


@st.cache_resource(max_entries=4, show_spinner="Counting words by expert", hash_funcs=BY_IDENTITY)
def _summary(trace: Trace) -> pd.DataFrame:
    rows = [_layer(trace, layer_id)[0] for layer_id in trace.layers]
    return with_q(pd.DataFrame(rows).rename_axis("layer_id").reset_index())


def token_table(trace: Trace, layer_id: int) -> pd.DataFrame:
    """vocabulary_table() of one layer with id_columns(); no row where it has no routed tokens. Not
    to be changed."""
    return _layer(trace, layer_id)[1]


@st.cache_resource(max_entries=64, show_spinner="Counting words by expert", hash_funcs=BY_IDENTITY)
def _layer(trace: Trace, layer_id: int) -> tuple[dict[str, Any], pd.DataFrame]:
    """Its row and its token table."""
    num_experts = trace.info.layers[layer_id].num_experts
    with trace.cursor() as con:
        tests, frame = layer_tests(con, layer_id)
        row = layer_row(tests, frame, num_experts)
        if frame.empty:
            return row, pd.DataFrame()
        texts = token_texts(trace)
    ids, tokens_VE = first_tokens(frame, num_experts)
    ids = ids.merge(texts, on="token_id", how="left")
    table = vocabulary.vocabulary_table(tokens_VE, ids, expected_V=tests.expected_V)
    table = table.merge(id_columns(tests), on="token_id", how="left")
    alike = (table.effective_number >= MIN_EFFECTIVE) & table.low.isna()
    table["note"] = np.select(
        [table.effective_number < MIN_EFFECTIVE, alike],
        [NOT_ENOUGH, "texts all alike: no interval"],
        "",
    )
    holding = frame.drop_duplicates(["token_id", "doc_id"]).groupby("token_id").size()
    place = list(table.columns).index("n_groups")
    table.insert(place, "n_documents", table.token_id.map(holding))
    table.insert(0, "layer_id", layer_id)
    return row, table


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=BY_IDENTITY)
def token_texts(trace: Trace) -> pd.DataFrame:
    """token_id, text of those that occur; the same in every layer."""
    with trace.cursor() as con:
        return queries.token_ids(con)[["token_id", "text"]]


@st.cache_data(max_entries=64, show_spinner="Comparing definitions", hash_funcs=BY_IDENTITY)
def definitions(trace: Trace, layer_id: int) -> pd.DataFrame:
    with trace.cursor() as con:
        table = definitions_table(trace_arrays(con, trace.info, layer_id))
    table.insert(0, "layer_id", layer_id)
    return table


def trace_arrays(con: DuckDBPyConnection, info: TraceInfo, layer_id: int) -> TraceArrays:
    tokens_NLE, doc_ids = arrays.document_array(con, info)
    texts = queries.documents(con).set_index("doc_id").loc[doc_ids]
    ids = queries.token_ids(con)
    choices, layer = arrays.layer_sample(con, info, layer_id), info.layers[layer_id]
    words = queries.token_id_choices(con, layer_id, tokens=arrays.MAX_TOKENS)
    k = queries.document_k(con)
    routed = k[k.layer_id == layer_id].set_index("doc_id").routed
    return TraceArrays(
        layer_id=layer_id,
        tokens_NLE=tokens_NLE.astype(np.int64),
        domain_id_N=pd.Index(info.domains).get_indexer(pd.Index(texts.domain)),
        tokens_N=routed.loc[doc_ids].to_numpy(),
        first_tokens_VE=arrays.first_choice_array(words, ids, layer.num_experts),
        next_tokens_VE=_next_tokens(choices, layer.num_experts),
        pairs_EE=arrays.pair_array(queries.coactivation(con, layer_id), layer.num_experts),
        ids_TK=_ids_by_rank(choices, layer.top_k),
        weights_NLE=_weights(con, doc_ids, info),
        experts_L=info.layer_sizes,
    )


def _next_tokens(choices: pd.DataFrame, num_experts: int) -> np.ndarray:
    """next_tokens_VE, by first choices."""
    first = choices[choices["rank"] == 0].dropna(subset="token_id")
    place = arrays.places(first)
    return definitions_of.next_token_choices(
        first.token_id.to_numpy(), place, first.expert_id.to_numpy(), num_experts
    )


def _ids_by_rank(choices: pd.DataFrame, k: int | None) -> np.ndarray | None:
    """ids_TK, unless k varies."""
    if k is None or len(choices) % k:
        return None
    if (choices["rank"].to_numpy().reshape(-1, k) != np.arange(k)).any():
        return None
    return choices.expert_id.to_numpy().reshape(-1, k)


def _weights(con: DuckDBPyConnection, doc_ids: np.ndarray, info: TraceInfo) -> np.ndarray | None:
    """weights_NLE, unless the source gave ids only."""
    frame = queries.document_weights(con)
    weights_NLE = np.zeros((len(doc_ids), info.num_layers, info.num_experts))
    document_N = np.searchsorted(doc_ids, frame.doc_id)
    weights_NLE[document_N, frame.layer_id, frame.expert_id] = frame.weight_sum
    return weights_NLE if np.isfinite(weights_NLE).all() else None
