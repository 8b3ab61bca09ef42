"""Do all experts carry their share?"""

import streamlit as st

from analysis import queries
from app import evidence
from app.views.load_balance import dropped_choices, experts_per_token, summary
from app.views.load_balance.figures import load_heatmap, load_order
from app.views.shared import controls
from app.views.shared.intervals import MEASURES, layer_intervals
from app.views.shared.trace_choice import trace_page

ALL = "all domains"

trace = trace_page("Do all experts carry their share?")
with st.container(horizontal=True, gap="large"):
    by_load = controls.choice("Experts in order of", ["number", "load"], key="sort") == "load"
    domain = st.selectbox(
        "Texts",
        [ALL, *evidence.read_domains(trace)],
        key="domain",
        bind="query-params",
        width=200,
    )
only = None if domain == ALL else domain
with trace.cursor() as con:
    tokens_LE = queries.load_array(queries.expert_tokens(con, domain=only), trace.info)
order_LE = load_order(tokens_LE, by_load=by_load)
with st.spinner(evidence.WAIT):
    table = evidence.load_metrics(evidence.metrics(trace, only))
    cells = evidence.expert_loads(trace, only)

controls.headline(
    [
        summary.busiest(table),
        summary.mean(table, "max_violation", "Mean MaxVio", "balanced"),
        summary.mean(table, "gini", "Mean Gini", "balanced"),
        summary.mean(table, "busiest_share", "Three busiest carry", "balanced"),
        summary.dead(table, trace.info.num_experts),
    ]
)
controls.answer(summary.sentence(table, trace.info.num_experts))
controls.chart(
    load_heatmap(tokens_LE, cells, controls.palette(), order_LE=order_LE, by_load=by_load),
    alt="Heatmap: load of every expert of every layer relative to a balanced layer",
    key="load",
    on_select="rerun",
)
if cell := controls.clicked("load"):
    target = {"layer": str(cell[0]), "expert": str(order_LE[cell])}
    st.switch_page("views/specialization/page.py", query_params=target)
controls.note(summary.marks(cells))
dropped_choices.show(trace, tokens_LE, domain=only, order_LE=order_LE)
evidence.show_unsaid(trace)
titles = {MEASURES[name].title: name for name in evidence.LOAD_METRICS}
metric = titles[controls.choice("Layer by layer", list(titles), key="figure")]
left, right = st.columns(2, gap="large")
with left:
    figure = layer_intervals(table, controls.palette(), metric=metric, null="balanced")
    controls.chart(figure, alt=f"{metric} by layer, with intervals", key="by_layer")
with right:
    controls.preview(table[table.metric == metric].drop(columns=["metric"]), name=metric)
    controls.download(table, name="load_by_layer", trace=trace.name)
controls.note(evidence.READING + " Tick: every expert with the same load.")
experts_per_token.show(trace)
domains = st.expander("Every layer and domain", icon=":material/layers:", on_change="rerun")
if domains.open:
    with domains, st.spinner(evidence.WAIT):
        by_domain = evidence.domain_metrics(trace)
        controls.preview(by_domain[by_domain.metric == metric], name=f"{metric} by domain")
        controls.download(by_domain, name="load_by_layer_and_domain", trace=trace.name)
controls.download(cells[[*evidence.LOAD_COLUMNS]], name="expert_load", trace=trace.name)
controls.method(
    *("expert_load_table", "load_imbalance", "max_violation", "gini", "busiest_share"),
    *("dropped_share", "mean_k_table", "k_histogram"),
    *("balancedness_of_sums", "mean_balancedness", "pooled_load_balance_loss"),
    compared=("balancedness", "MaxVio", "load-balance loss"),
)
