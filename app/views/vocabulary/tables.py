"""What the page Vocabulary reads of a trace, computed once."""

import numpy as np
import pandas as pd
import streamlit as st
from duckdb import DuckDBPyConnection

from analysis import arrays, information_table, queries, vocabulary
from analysis import definitions as definitions_of
from analysis.definition_table import TraceArrays, definitions_table
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH
from analysis.queries import TraceInfo
from analysis.vocabulary_rows import first_tokens, layer_tests, vocabulary_rows, with_q
from analysis.vocabulary_tests import id_columns
from app import sidecars
from app.trace import BY_IDENTITY, Trace
from data.sidecar import Sidecar


def summary(trace: Trace) -> pd.DataFrame:
    """vocabulary_rows() from beside the trace, or at once and without p."""
    stored = trace.beside(sidecars.VOCABULARY)
    return with_q(stored.frame) if isinstance(stored, Sidecar) else _summary_without_p(trace)


def information(trace: Trace) -> pd.DataFrame | None:
    """information_rows() with q, from beside the trace if they are there."""
    stored = trace.beside(sidecars.INFORMATION)
    return information_table.with_q(stored.frame) if isinstance(stored, Sidecar) else None


@st.cache_data(max_entries=16, show_spinner="Counting words by expert", hash_funcs=BY_IDENTITY)
def _summary_without_p(trace: Trace) -> pd.DataFrame:
    with trace.cursor() as con:
        return vocabulary_rows(con, deals=0)


@st.cache_data(max_entries=64, show_spinner="Counting words by expert", hash_funcs=BY_IDENTITY)
def token_table(trace: Trace, layer_id: int) -> pd.DataFrame:
    """vocabulary_table() of one layer with id_columns(); no row where it has no routed tokens."""
    with trace.cursor() as con:
        ids = queries.token_ids(con)
        tests, frame = layer_tests(con, layer_id)
    num_experts = trace.info.layers[layer_id].num_experts
    tokens_VE = arrays.first_choice_array(frame, ids, num_experts)
    if not tokens_VE.any():
        return pd.DataFrame()
    table = vocabulary.vocabulary_table(tokens_VE, ids, expected_V=tests.expected_V)
    table = table.merge(id_columns(tests), on="token_id", how="left")
    alike = (table.effective_number >= MIN_EFFECTIVE) & table.low.isna()
    table["note"] = np.select(
        [table.effective_number < MIN_EFFECTIVE, alike],
        [NOT_ENOUGH, "texts all alike: no interval"],
        "",
    )
    texts = frame[frame.first_tokens > 0].groupby("token_id").doc_id.nunique()
    place = list(table.columns).index("n_groups")
    table.insert(place, "n_documents", table.token_id.map(texts))
    table.insert(0, "layer_id", layer_id)
    return table


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
    choices, layer = queries.layer_choices(con, layer_id), info.layers[layer_id]
    k = queries.document_k(con)
    routed = k[k.layer_id == layer_id].set_index("doc_id").routed
    return TraceArrays(
        layer_id=layer_id,
        tokens_NLE=tokens_NLE.astype(np.int64),
        domain_id_N=pd.Index(info.domains).get_indexer(pd.Index(texts.domain)),
        tokens_N=routed.loc[doc_ids].to_numpy(),
        first_tokens_VE=first_tokens(con, ids, info, layer_id),
        next_tokens_VE=_next_tokens(choices, layer.num_experts),
        pairs_EE=arrays.pair_array(queries.coactivation(con, layer_id), layer.num_experts),
        ids_TK=_ids_by_rank(choices, layer.top_k),
        weights_NLE=_weights(con, doc_ids, info),
        experts_L=info.layer_sizes,
    )


def _next_tokens(choices: pd.DataFrame, num_experts: int) -> np.ndarray:
    """next_tokens_VE, by first choices."""
    first = choices[choices["rank"] == 0].dropna(subset="token_id")
    place = first.doc_id.astype("uint64") * 2**32 + first.position
    return definitions_of.next_token_choices(
        first.token_id.to_numpy(), place.to_numpy(), first.expert_id.to_numpy(), num_experts
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
