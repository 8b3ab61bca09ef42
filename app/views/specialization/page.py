"""Which experts prefer which domain?"""

import streamlit as st

from app import evidence, sidecars, stored, summary_kinds
from app.views.shared import (
    coming,
    controls,
    expert_chooser,
    layer_chooser,
    left_out,
    limits,
    needs,
    other_tools,
    selecting,
)
from app.views.shared.drawing import draw, draw_side_by_side
from app.views.shared.intervals import MEASURES
from app.views.shared.trace_choice import trace_page
from app.views.shared.unusable import draw_unusable
from app.views.specialization.expert_card import draw_card
from app.views.specialization.panels import (
    COMPARED,
    METHOD,
    layer_figure,
    panels,
    replication_panels,
)
from app.views.specialization.specialists import draw_specialists

trace = trace_page("Which experts prefer which domain?", uses=("layer", "expert", "domains"))
needs.domains(trace, "which experts prefer which")
compared = evidence.compares_domains(trace)
with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
    layer_id = layer_chooser.layer_of(trace, layer_figure(trace))
    if compared:
        order = controls.choice("Order experts by", ["domain", "number"], key="order")
        by_domain = order == "domain"
    expert_id = expert_chooser.expert_of(trace, layer_id)
    tested = compared and stored.is_complete(trace, summary_kinds.LIFTS)
    sure = tested and controls.only_sure(
        len(trace.domains), trace.info.layers[layer_id].num_experts
    )
if not compared:
    limits.draw_limits(trace)
    with st.spinner(evidence.WAIT):
        draw_card(trace, layer_id=layer_id, expert_id=expert_id)
    left_out.stop()

above, every_layer = st.container(), st.expander("Every layer", icon=":material/layers:")
with every_layer:
    titles = {MEASURES[name].title: name for name in evidence.DOMAIN_METRICS}
    metric = titles[controls.choice("Figure", list(titles), key="figure")]
with above:
    coming.draw(trace)
with above, st.spinner(evidence.WAIT):
    drawn = panels(
        trace,
        controls.palette(),
        layer_id=layer_id,
        by_domain=by_domain,
        expert_id=expert_id,
        only_sure=sure,
        metric=metric,
        chosen=selecting.current().domains,
    )
    shown = {panel.name: panel for panel in drawn}
    draw(shown["expert_domain_lift"], subject=trace, key="lift")
    limits.draw_limits(trace)
    draw_unusable(trace, sidecars.CAUSES, *summary_kinds.BY_SUMMARY)
    draw_card(trace, layer_id=layer_id, expert_id=expert_id)
    if tested:
        draw_specialists(shown.get("specialists"), trace=trace)
    other_tools.buttons(trace, "esft", "esft-scores")
    for panel in replication_panels(trace):
        controls.note(panel.note)
with every_layer:
    draw_side_by_side(shown["specialization_by_layer"], subject=trace)
controls.method(*METHOD, compared=COMPARED)
