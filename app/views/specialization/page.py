"""Which experts prefer which domain?"""

import numpy as np
import streamlit as st

from analysis import queries
from app import evidence
from app.studies import ablation
from app.views.shared import controls
from app.views.shared.intervals import MEASURES, layer_intervals
from app.views.shared.trace_choice import trace_page
from app.views.specialization import expert_card, specialists
from app.views.specialization.figures import domain_order, lift_grid, lift_heatmap

trace = trace_page("Which experts prefer which domain?")
with trace.cursor() as con:
    tokens_LE = queries.load_array(queries.expert_tokens(con), trace.info)
with st.spinner(evidence.WAIT):
    lifts, metrics = evidence.lifts(trace), evidence.metrics(trace)
compared = lifts.estimate.notna().any()

bar = st.container(horizontal=True, gap="large")
with bar:
    layer_id = controls.layer(trace.info.num_layers)
rows = lifts[lifts.layer_id == layer_id].reset_index(drop=True)
if compared:
    with bar:
        order = controls.choice("Experts in order of", ["domain", "number"], key="order")
    log_EG = lift_grid(rows, "estimate", trace.domains)
    order_E = (
        domain_order(np.exp2(log_EG)) if order == "domain" else np.arange(trace.info.num_experts)
    )
with bar:
    expert_id = st.selectbox(
        "Expert", range(trace.info.num_experts), key="expert", bind="query-params", width=140
    )


def choose() -> None:
    if cell := controls.clicked("lift"):
        st.session_state.expert = int(order_E[cell[1]])


if compared:
    controls.answer(specialists.sentence(rows, metrics, layer_id=layer_id))
    controls.chart(
        lift_heatmap(
            rows, controls.palette(), domains=trace.domains, order_E=order_E, marked=expert_id
        ),
        alt=f"Heatmap: lift of every domain for every expert of layer {layer_id}",
        key="lift",
        on_select=choose,
    )
    controls.note(specialists.marks(lifts))
    controls.note(f"{specialists.NOT_SHOWN} {specialists.power(rows)}")
evidence.show_unsaid(trace)
causes = ablation.stored(trace.path, model_sha256=trace.info.model_sha256)
expert_card.show(trace, rows, tokens_LE[layer_id], metrics, causes, expert_id=expert_id)
if not compared:
    st.stop()

specialists.table(lifts, causes, trace=trace.name)
with st.spinner(evidence.WAIT):
    repeated = evidence.replicated(trace)
controls.note(specialists.replicated(repeated))
with st.expander("Every layer", icon=":material/layers:"):
    titles = {MEASURES[name].title: name for name in evidence.DOMAIN_METRICS}
    metric = titles[controls.choice("Figure", list(titles), key="figure")]
    left, right = st.columns(2, gap="large")
    with left:
        figure = layer_intervals(
            metrics, controls.palette(), metric=metric, null="shuffled labels", marked=layer_id
        )
        controls.chart(figure, alt=f"{metric} by layer, with intervals", key="information")
    with right:
        by_layer = evidence.specialization_metrics(metrics)
        shown = by_layer[by_layer.metric == metric].drop(columns="metric")
        controls.table(shown, name="specialization_by_layer", trace=trace.name)
    controls.note(evidence.READING + " Tick: the same with labels shuffled over texts.")
controls.download(lifts[[*evidence.LIFT_COLUMNS]], name="expert_domain_lift", trace=trace.name)
controls.method(
    *("domain_lift", "lift_table", "replication", "jensen_shannon", "information_share"),
    *("domain_token_share", "domain_choice_share", "esft_document_score"),
    *("normalized_over_experts", "normalized_over_layers", "selected_experts"),
    compared=("domain specialization", "gate score", "normalization", "selection"),
)
