"""Which experts work together?"""

import streamlit as st

from analysis.pair_table import Null
from app.views.coactivation.figures import BUSIEST
from app.views.coactivation.pair_tests import layer_pairs
from app.views.coactivation.panels import (
    COMPARED,
    METHOD,
    is_large,
    layer_figure,
    panels,
    shown_experts,
    shows_few_first,
)
from app.views.coactivation.transitions import TITLE, no_transitions_note
from app.views.shared import controls, expert_chooser, layer_chooser, limits, needs
from app.views.shared.drawing import draw
from app.views.shared.layer_names import names_of
from app.views.shared.trace_choice import trace_page

NULLS: dict[str, Null] = {"fixed loads": "load", "uniform choice": "uniform"}

trace = trace_page("Which experts work together?", uses=("layer", "expert"))
needs.tokens(trace, "which experts are chosen together")
with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
    layer_id = layer_chooser.layer_of(trace, layer_figure(trace))
    layers = controls.choice("Compare experts of", ["one layer", "this and the next"], key="asked")
    null = NULLS[controls.choice("Chance model", list(NULLS), key="null")]
    order = controls.choice("Order experts by", ["co-activation", "number"], key="arrange")
    few = f"{BUSIEST} busiest"
    ways = [few, "all"] if shows_few_first(trace, layer_id) else ["all", few]
    shown = controls.choice("Show", ways, key="shown") if is_large(trace, layer_id) else ""
    sure = controls.only_sure(*shown_experts(trace, layer_id, only_busiest=shown == few))
with_next = layers != "one layer"
for panel in panels(
    trace,
    controls.palette(),
    layer_id=layer_id,
    with_next=with_next,
    null=null,
    by_coactivation=order == "co-activation",
    only_busiest=shown == few,
    only_sure=sure,
    expert_id=expert_chooser.selected(layer_id),
):
    draw(panel, subject=trace)
if not with_next and (reason := layer_pairs(trace, layer_id).reason):
    st.info(f"{names_of(trace).first(layer_id)} has no pairs to show: {reason}.")
if (with_next or layer_id == trace.layers[-1]) and (note := no_transitions_note(trace, layer_id)):
    st.markdown(f"**{TITLE}**")
    controls.note(note)
limits.draw_sample(trace)
controls.method(*METHOD, compared=COMPARED)
