"""Which experts of the next layer follow those of a layer: tested once, then shown."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from analysis import pair_table, queries
from analysis.queries import MAX_DOCUMENTS
from analysis.significance import NOT_ENOUGH
from analysis.transitions import transition_significance
from app.trace import BY_IDENTITY, Trace
from app.views.coactivation.figures import (
    SIGNIFICANT,
    follow_order,
    most_active,
    transition_heatmap,
    transition_square,
)
from app.views.shared import controls


@dataclass(frozen=True, slots=True)
class LayerTransitions:
    tests: pd.DataFrame  # of transition_significance, no row where there are none
    num_documents: int  # with tokens that chose in both layers
    num_tokens: int


@st.cache_data(max_entries=64, show_spinner="Testing every transition", hash_funcs=BY_IDENTITY)
def layer_transitions(trace: Trace, layer_id: int) -> LayerTransitions:
    """From a layer to the next, of the trace with that identity."""
    with trace.cursor() as con:
        here, following = (queries.layer_choices(con, layer) for layer in (layer_id, layer_id + 1))
    here_TE, next_TE, document_T = queries.transition_choices(here, following, trace.info)
    if not len(document_T):
        return LayerTransitions(pd.DataFrame(), 0, 0)
    tests = transition_significance(here_TE, next_TE, document_T)
    return LayerTransitions(tests, len(np.unique(document_T)), len(document_T))


def layer_table(trace: Trace, layer_id: int) -> pd.DataFrame:
    """The transition_table of a layer; no row where no token chose in both."""
    found = layer_transitions(trace, layer_id)
    if found.tests.empty:
        return found.tests
    return pair_table.transition_table(
        found.tests,
        layer_id=layer_id,
        num_documents=found.num_documents,
        num_tokens=found.num_tokens,
    )


def show(trace: Trace, tokens_LE: np.ndarray, *, layer_id: int, by_company: bool) -> None:
    st.markdown("**From this layer to the next**")
    if layer_id + 1 == trace.info.num_layers:
        only = "the only" if trace.info.num_layers == 1 else "the last"
        controls.note(f"Layer {layer_id} is {only} MoE layer of this trace: nothing follows it.")
        return
    found = layer_transitions(trace, layer_id)
    if found.tests.empty:
        controls.note("No token chose experts in both layers: there are no transitions.")
        return
    lift_EE = transition_square(found.tests.lift, trace.info.num_experts)
    rows, columns = most_active(tokens_LE[layer_id]), most_active(tokens_LE[layer_id + 1])
    if by_company:
        rows, columns = follow_order(lift_EE, rows, columns)
    figure = transition_heatmap(
        found.tests, controls.palette(), rows=rows, columns=columns, layer_id=layer_id
    )
    alt = f"Heatmap: which experts of layer {layer_id + 1} follow those of layer {layer_id}"
    controls.chart(figure, alt=alt, key="transitions")
    controls.note(scope(found))
    table = layer_table(trace, layer_id)
    controls.download(table, name="expert_transitions", trace=trace.name)


def scope(found: LayerTransitions) -> str:
    """What was tested, on what, and what it does not say."""
    tested = int(found.tests.q.notna().sum())
    sure = int((found.tests.q < SIGNIFICANT).sum())
    read = f" Read: {MAX_DOCUMENTS:,} texts, always the same."
    return (
        f"Against independent choices in the two layers. Dot: q < {SIGNIFICANT}, {sure:,} of the "
        f"{tested:,} transitions that can be tested, Benjamini-Hochberg; hatched: {NOT_ENOUGH}. "
        f"The sample is {found.num_documents:,} texts of {found.num_tokens:,} tokens. It does not "
        "say why: a token's word alone ties one layer to the next, and so does its subject."
        + (read if found.num_documents >= MAX_DOCUMENTS else "")
    )
