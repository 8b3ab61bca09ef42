"""Do texts of one domain travel together?"""

import streamlit as st

from app import sidecars
from app.jobs import beside
from app.views.domain_clusters.figures import inside_selection
from app.views.domain_clusters.first_look import map_or_first_look
from app.views.domain_clusters.panels import METHOD, panels, selection_panel
from app.views.shared import controls, layer_chooser, limits, needs
from app.views.shared.drawing import draw
from app.views.shared.trace_choice import trace_page

trace = trace_page("Do texts of one domain travel together?")
needs.tokens(trace, "which texts travel together")
job = beside.project(trace)
with st.container(horizontal=True, gap="large"):
    what = controls.choice("Points", list(sidecars.MAPS), key="points")
    colour = controls.choice("Colour", ["domain", "cluster", "distance", "expert"], key="colour")
    layer_id = expert_id = 0
    if colour == "expert":
        layer_id = layer_chooser.layer_of(trace)
        experts = range(trace.info.layers[layer_id].num_experts)
        expert_id = st.selectbox("Expert", experts, key="expert", bind="query-params", width=120)
map_or_look = map_or_first_look(trace, what, job)
drawn = panels(
    trace,
    controls.palette(),
    what=what,
    colour=colour,
    layer_id=layer_id,
    expert_id=expert_id,
    shown=map_or_look,
)
shown = {panel.name: panel for panel in drawn}
points = map_or_look.frame
left, right = st.columns([3, 2], gap="large")
with left:
    state = draw(
        shown[f"map_of_{what}"],
        subject=trace,
        key="map",
        on_select="rerun",
        select=("box", "lasso"),
    )
with right:
    cluster = None
    if map_or_look.parameters["clusters"]:
        cluster = st.selectbox(
            "Draw around points, or choose a cluster",
            sorted(set(points.cluster)),
            index=None,
            placeholder="cluster",
        )
    chosen_P = inside_selection(points, dict(state.selection))
    if cluster is not None and not chosen_P.any():
        chosen_P = (points.cluster == cluster).to_numpy()
    if chosen_P.any():
        draw(selection_panel(trace, points[chosen_P], what, of=len(points)), subject=trace)
    elif f"agreement_of_{what}" in shown:
        draw(shown[f"agreement_of_{what}"], subject=trace)
limits.draw_sample(trace)
controls.method(*METHOD)
