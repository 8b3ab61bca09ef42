"""Which experts of the next layer follow those of a layer: tested once, a table, in words."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from analysis import pair_table, queries
from analysis.queries import MAX_DOCUMENTS
from analysis.significance import MAX_Q, NOT_ENOUGH
from analysis.transitions import transition_significance
from app.trace import BY_IDENTITY, Trace

TITLE = "From this layer to the next"


@dataclass(frozen=True, slots=True)
class LayerTransitions:
    tests: pd.DataFrame  # of transition_significance, no row where there are none
    num_documents: int  # with tokens that chose in both layers
    num_tokens: int


@st.cache_data(max_entries=64, show_spinner="Testing every transition", hash_funcs=BY_IDENTITY)
def layer_transitions(trace: Trace, layer_id: int) -> LayerTransitions:
    """From a layer to the next."""
    with trace.cursor() as con:
        here, following = (queries.layer_choices(con, layer) for layer in (layer_id, layer_id + 1))
    here_TE, next_TE, document_T = queries.transition_choices(here, following, trace.info)
    if not len(document_T):
        return LayerTransitions(pd.DataFrame(), 0, 0)
    tests = transition_significance(here_TE, next_TE, document_T)
    return LayerTransitions(tests, len(np.unique(document_T)), len(document_T))


def layer_table(trace: Trace, layer_id: int) -> pd.DataFrame:
    """The transition_table of a layer; no row where no token chose in both."""
    transitions = layer_transitions(trace, layer_id)
    if transitions.tests.empty:
        return transitions.tests
    return pair_table.transition_table(
        transitions.tests,
        layer_id=layer_id,
        num_documents=transitions.num_documents,
        num_tokens=transitions.num_tokens,
    )


def no_transitions_note(trace: Trace, layer_id: int) -> str:
    """Why a layer has none; empty if it has."""
    if layer_id == trace.layers[-1]:
        only = "the only" if trace.info.num_layers == 1 else "the last"
        return f"Layer {layer_id} is {only} MoE layer of this trace: nothing follows it."
    if layer_transitions(trace, layer_id).tests.empty:
        return "No token chose experts in both layers, so there are no transitions."
    return ""


def heatmap_note(transitions: LayerTransitions) -> str:
    """What was tested, on what, and what it does not say."""
    tested = int(transitions.tests.q.notna().sum())
    significant = int((transitions.tests.q < MAX_Q).sum())
    read = f" Only {MAX_DOCUMENTS:,} texts are read, always the same ones."
    return (
        f"Compared with independent choices in the two layers. Dot: q < {MAX_Q} ({significant:,} "
        f"of the {tested:,} testable transitions, Benjamini-Hochberg). Hatched: {NOT_ENOUGH}. The "
        f"sample is {transitions.num_documents:,} texts with {transitions.num_tokens:,} tokens. "
        "The test does not say why: the token itself ties one layer to the next, and so does the "
        "subject of the text." + (read if transitions.num_documents >= MAX_DOCUMENTS else "")
    )
