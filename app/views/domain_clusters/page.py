"""Do texts of one domain travel together?"""

import numpy as np
import pandas as pd
import streamlit as st

from app.jobs import beside
from app.views.domain_clusters import points as cluster_points
from app.views.domain_clusters.figures import cluster_map, domain_map, inside_selection, value_map
from app.views.shared import controls, progress
from app.views.shared.trace_choice import trace_page
from data.sidecar import read_sidecar

SHOWN = 8000  # points that a browser selects without delay

trace = trace_page("Do texts of one domain travel together?")
job = beside.project(trace)
with st.container(horizontal=True, gap="large"):
    what = controls.choice("Points", list(beside.PROJECTIONS), key="points")
    colour = controls.choice("Colour", ["domain", "cluster", "expert"], key="colour")
    layer_id = expert_id = 0
    if colour == "expert":
        layer_id = controls.layer(trace.info.num_layers)
        expert_id = st.selectbox(
            "Expert", range(trace.info.num_experts), key="expert", bind="query-params", width=120
        )
if job and job.active:
    progress.show(job, key="project")
elif job:
    progress.outcome(job, failed="The map could not be made.")
found = read_sidecar(trace.path, what)
if found is None:
    if not (job and job.active):
        st.info("There is no map of these points. Make it with `routescope project`.")
    controls.note(
        f"The map of {what} appears here when it is ready; the other pages work meanwhile."
    )
    st.stop()
points, parameters = found


def draw() -> tuple[pd.DataFrame, dict]:
    shown = points
    if len(points) > SHOWN:
        shown = points.sample(SHOWN, random_state=0).sort_index()
    hover = cluster_points.hover(shown, what)
    if colour == "domain":
        figure = domain_map(shown, hover, controls.palette())
    elif colour == "cluster":
        figure = cluster_map(shown, hover, controls.palette())
    else:
        values = cluster_points.expert_share(trace, shown, what, layer_id, expert_id)
        figure = value_map(shown, values, hover, controls.palette(), title=f"expert {expert_id}")
    state = controls.chart(
        figure,
        alt=f"Map of {what} by routing",
        key="map",
        on_select="rerun",
        select=("box", "lasso"),
    )
    return shown, dict(state.selection)


controls.answer(cluster_points.sentence(what, points, parameters))
left, right = st.columns([3, 2], gap="large")
with left:
    shown, selection = draw()
    controls.note(cluster_points.scope(what, parameters, shown=len(shown)))
with right:
    clusters = sorted(set(points.cluster))
    cluster = st.selectbox(
        "Draw around points, or choose a cluster", clusters, index=None, placeholder="cluster"
    )
    chosen_P = inside_selection(points, selection)
    if cluster is not None and not chosen_P.any():
        chosen_P = (points.cluster == cluster).to_numpy()
    if chosen_P.any():
        cluster_points.selected(trace, points[chosen_P], what, of=len(points))
    else:
        cluster_points.agreement(trace, parameters, what)
controls.download(points.replace({np.nan: None}), name=f"map_of_{what}", trace=trace.name)
controls.method("Maps", "agreement")
