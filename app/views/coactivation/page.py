"""Which experts work together?"""

import numpy as np
import streamlit as st

from analysis import pair_table, queries
from analysis.pair_table import Null
from app.views.coactivation import pair_tests, transitions
from app.views.coactivation.figures import cluster_order, log_lift, most_active, pair_heatmap
from app.views.shared import controls
from app.views.shared.trace_choice import trace_page

NULLS: dict[str, Null] = {"fixed loads": "load", "k of E": "uniform"}

trace = trace_page("Which experts work together?")
with st.container(horizontal=True, gap="large"):
    layer_id = controls.layer(trace.info.num_layers)
    asked = controls.choice("Experts of", ["one layer", "this and the next"], key="asked")
    null = NULLS[controls.choice("Chance means", list(NULLS), key="null")]
    order = controls.choice("Experts in order of", ["company", "number"], key="order")
with trace.cursor() as con:
    tokens_LE = queries.load_array(queries.expert_tokens(con), trace.info)
found = pair_tests.layer_pairs(trace, layer_id)


def show_pairs() -> None:
    log_EE = log_lift(found.tests, trace.info.num_experts, null=null)
    order_S = most_active(tokens_LE[layer_id])
    if order == "company":
        order_S = order_S[cluster_order(log_EE[np.ix_(order_S, order_S)])]
    table = pair_table.pair_table(
        found.tests,
        layer_id=layer_id,
        null=null,
        num_documents=found.num_documents,
        num_tokens=found.num_tokens,
    )
    controls.answer(pair_tests.sentence(found, layer_id=layer_id, null=null))
    controls.chart(
        pair_heatmap(found.tests, controls.palette(), log_EE=log_EE, order_S=order_S, null=null),
        alt=f"Heatmap: how often every two experts of layer {layer_id} meet, against chance",
        key="pairs",
    )
    shown, all_experts = len(order_S), trace.info.num_experts
    controls.note(pair_tests.scope(found, null=null, shown=shown, num_experts=all_experts))
    st.markdown("**Every pair, the surest first** (estimate: log2 lift)")
    controls.table(table, name="expert_pairs", trace=trace.name)


if asked == "one layer":
    if found.reason:
        st.info(f"Layer {layer_id} has no pairs to show: {found.reason}.")
    else:
        show_pairs()
if asked != "one layer" or layer_id + 1 == trace.info.num_layers:
    transitions.show(trace, tokens_LE, layer_id=layer_id, by_company=order == "company")
controls.method(
    *("pair_significance", "coactivation_lift", "corrected_coactivation_lift"),
    *("coactivation_rate", "adjacent_coactivation_rate"),
    *("transition_lift", "transition_significance"),
    compared=("co-activation",),
)
