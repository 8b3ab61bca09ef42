"""Which experts of the next layer follow those of a layer, on the page."""

import numpy as np
import streamlit as st

from analysis import coactivation, pair_table, queries
from analysis.queries import TraceInfo
from app import controls, workspace
from app.figures.coactivation import follow_order, most_active, transition_heatmap
from app.workspace import TraceFile


def show(
    trace: TraceFile, info: TraceInfo, tokens_LE: np.ndarray, *, layer_id: int, by_company: bool
) -> None:
    st.markdown("**From this layer to the next**")
    if layer_id + 1 == info.num_layers:
        only = "the only" if info.num_layers == 1 else "the last"
        controls.note(f"Layer {layer_id} is {only} MoE layer of this trace: nothing follows it.")
        return
    with workspace.cursor(trace) as con:
        tokens_EE = queries.transition_array(queries.transitions(con, layer_id), info)
    if not tokens_EE.any():
        controls.note("No token chose experts in both layers: there are no transitions.")
        return
    lift_EE = coactivation.transition_lift(tokens_EE)
    rows, columns = most_active(tokens_LE[layer_id]), most_active(tokens_LE[layer_id + 1])
    if by_company:
        rows, columns = follow_order(lift_EE, rows, columns)
    figure = transition_heatmap(
        tokens_EE, lift_EE, controls.palette(), rows=rows, columns=columns, layer_id=layer_id
    )
    alt = f"Heatmap: which experts of layer {layer_id + 1} follow those of layer {layer_id}"
    controls.show(figure, alt=alt, key="transitions")
    controls.note(
        "Against independent choices in the two layers. No test: a token makes several "
        "transitions at once, and its word alone ties one layer to the next."
    )
    table = pair_table.transition_table(tokens_EE, layer_id=layer_id)
    controls.download(table, name="expert_transitions", trace=trace.name)
