"""Which experts prefer which domain?"""

import numpy as np
import streamlit as st

from analysis import queries, specialization
from app import controls, expert_card, export, workspace
from app.figures.specialization import domain_order, information_lines, lift_heatmap

trace, info = controls.page("Which experts prefer which domain?")
with workspace.cursor(trace) as con:
    tokens_LEG = queries.domain_array(queries.expert_domain_tokens(con), info)
if np.count_nonzero(tokens_LEG.any((0, 1))) < 2:
    st.info(
        "Preferences need texts of two or more labelled domains: capture prompts with a domain."
    )
    st.stop()

bar = st.container(horizontal=True, gap="large")
with bar:
    layer_id = controls.layer(info)
    order = controls.choice("Experts in order of", ["domain", "number"], key="order")
tokens_EG = tokens_LEG[layer_id]
lift_EG = specialization.domain_lift(tokens_LEG)[layer_id]
table = specialization.specialization_table(tokens_LEG)
order_E = domain_order(lift_EG) if order == "domain" else np.arange(info.num_experts)
with bar:
    expert_id = st.selectbox(
        "Expert", range(info.num_experts), key="expert", bind="query-params", width=140
    )


def choose() -> None:
    if cell := controls.clicked("lift"):
        st.session_state.expert = int(order_E[cell[1]])


def sentence() -> str:
    strong = int((np.nan_to_num(lift_EG) >= specialization.MIN_LIFT).any(-1).sum())
    g = int(np.nanargmax(np.nanmax(lift_EG, axis=0)))
    expert = int(np.nanargmax(lift_EG[:, g]))
    told = table.information_share[layer_id]
    return (
        f"In layer {layer_id}, {strong} of {info.num_experts} experts are chosen at least "
        f"{specialization.MIN_LIFT:g} times as often in some domain as by chance; the strongest is "
        f"expert {expert} for {info.domains[g]} ({lift_EG[expert, g]:.1f}×). One choice tells "
        f"{told:.1%} of what there is to know about the domain."
    )


controls.answer(sentence())
controls.show(
    lift_heatmap(
        lift_EG,
        tokens_EG,
        controls.palette(),
        domains=info.domains,
        order_E=order_E,
        marked=expert_id,
    ),
    alt=f"Heatmap: lift of every domain for every expert of layer {layer_id}",
    key="lift",
    on_select=choose,
)
controls.note("Orange: more often than chance, blue: less. Click a cell to open the expert's card.")
expert_card.show(trace, info, tokens_EG, layer_id=layer_id, expert_id=expert_id)

with st.expander("Every layer", icon=":material/layers:"):
    figure = information_lines(table, controls.palette(), marked=layer_id)
    controls.show(figure, alt="Bars: information about the domain by layer", key="information")
    controls.table(table, name="specialization_by_layer", trace=trace.name)
lifts = export.lift_table(tokens_LEG, info)
controls.download(lifts, name="expert_domain_lift", trace=trace.name)
controls.method("domain_lift", "expert_domain", "jensen_shannon", "information_share")
