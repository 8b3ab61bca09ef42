"""Do texts of one domain travel together?"""

import streamlit as st

from app import sidecars
from app.jobs import beside
from app.views.domain_clusters.figures import inside_selection
from app.views.domain_clusters.panels import METHOD, panels, selection_panel
from app.views.shared import controls, layer_chooser, limits, needs, progress
from app.views.shared.drawing import draw
from app.views.shared.trace_choice import trace_page
from app.views.shared.unusable import draw_unusable
from data.sidecar import REPLACED, Absent

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
if job and job.active:
    progress.follow(job, key="project")
elif job:
    progress.outcome(job, failed="The map could not be made.")
stored = trace.beside(sidecars.MAPS[what])
if isinstance(stored, Absent):
    if stored.reason not in REPLACED:
        draw_unusable(trace, sidecars.MAPS[what])
        st.stop()
    draw_unusable(trace, *sidecars.MAPS.values())  # one of them keeps all from being made
    if not (job and job.active):
        st.info("There is no map of these points yet. Make it with `routescope project`.")
    controls.note(
        f"The map of {what} appears here when it is ready; the other pages work in the meantime."
    )
    st.stop()

drawn = panels(
    trace,
    controls.palette(),
    what=what,
    colour=colour,
    layer_id=layer_id,
    expert_id=expert_id,
)
shown = {panel.name: panel for panel in drawn}
points = stored.frame
left, right = st.columns([3, 2], gap="large")
with left:
    state = draw(
        shown[f"map_of_{what}"],
        subject=trace.name,
        key="map",
        on_select="rerun",
        select=("box", "lasso"),
    )
with right:
    clusters = sorted(set(points.cluster))
    cluster = st.selectbox(
        "Draw around points, or choose a cluster", clusters, index=None, placeholder="cluster"
    )
    chosen_P = inside_selection(points, dict(state.selection))
    if cluster is not None and not chosen_P.any():
        chosen_P = (points.cluster == cluster).to_numpy()
    if chosen_P.any():
        draw(selection_panel(trace, points[chosen_P], what, of=len(points)), subject=trace.name)
    elif f"agreement_of_{what}" in shown:
        draw(shown[f"agreement_of_{what}"], subject=trace.name)
limits.draw_sample(trace)
controls.method(*METHOD)
