"""Do all experts carry their share?"""

import streamlit as st

from analysis.domain_counts import ALL_LAYERS
from app import evidence, stored, summary_kinds
from app.views.load_balance.load_range import draw_load_range
from app.views.load_balance.panels import (
    COMPARED,
    METHOD,
    every_domain_panel,
    headline,
    panels,
)
from app.views.shared import coming, controls, domain_chooser, limits, other_tools
from app.views.shared.drawing import draw, draw_side_by_side
from app.views.shared.intervals import MEASURES
from app.views.shared.layer_names import names_of
from app.views.shared.trace_choice import trace_page
from app.views.shared.unusable import draw_unusable
from data.labels import ALL_DOMAINS

WHOLE_TRACE = "all layers"

trace = trace_page("Do all experts carry their share?", uses=("domain",))
names = names_of(trace)
with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
    by_load = controls.choice("Order experts by", ["number", "load"], key="sort") == "load"
    domains = [ALL_DOMAINS, *evidence.present_domains(trace)]
    name = domain_chooser.domain_of("Texts", domains, width=200)
    sure = stored.is_complete(trace, summary_kinds.LOADS) and controls.only_sure(
        trace.info.num_layers, trace.info.num_experts
    )
domain = None if name == ALL_DOMAINS else name
loads, by_layer = st.container(), st.container()
with by_layer:
    titles = {MEASURES[metric].title: metric for metric in evidence.LOAD_METRICS}
    metric = titles[controls.choice("Layer by layer", list(titles), key="measure")]
k_layer = ALL_LAYERS
if trace.k_varies:
    st.subheader("Experts per token", anchor=False)
    layers = [WHOLE_TRACE, *map(names.choice, trace.layers)]
    layer = st.selectbox("MoE layer", layers, key="k_layer", bind="query-params", width=200)
    k_layer = layers.index(layer) - 1

with loads:
    coming.draw(trace, [summary_kinds.LOADS, summary_kinds.METRICS])
with loads, st.spinner(evidence.WAIT):
    drawn = panels(
        trace,
        controls.palette(),
        domain=domain,
        by_load=by_load,
        only_sure=sure,
        metric=metric,
        k_layer=k_layer,
    )
    shown = {panel.name: panel for panel in drawn}
    controls.headline(headline(trace, domain))
    draw(shown["expert_load"], subject=trace, key="load")
    if domain is None:  # they count all texts
        other_tools.buttons(trace, "eplb", "sglang-counts")
    if "dropped_choices" in shown:
        draw(shown["dropped_choices"], subject=trace)
    draw_unusable(trace, summary_kinds.LOADS, summary_kinds.METRICS)
    limits.draw_limits(trace)
    draw_load_range(trace, domain)
with by_layer:
    draw_side_by_side(shown["load_by_layer"], subject=trace)
if "experts_per_token" in shown:
    draw(shown["tokens_by_k"], subject=trace)
    draw(shown["experts_per_token"], subject=trace)
every_domain = st.expander("Every layer and domain", icon=":material/layers:", on_change="rerun")
if every_domain.open:
    with every_domain, st.spinner(evidence.WAIT):
        draw(every_domain_panel(trace, metric=metric), subject=trace)
controls.method(*METHOD, compared=COMPARED)
