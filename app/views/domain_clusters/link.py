"""What of a map is in its link: the cluster and the area; and where a click on a point leads."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from analysis.areas import read_area
from app.views.domain_clusters.map_points import MapPoints
from app.views.shared import left_out

AREA, CLUSTER, COLOUR, SHOWN = "area", "cluster", "colour", "points_shown"


def cluster_of(points: MapPoints) -> int | None:
    """The cluster that is chosen. That and the area of one kind of points say nothing about
    another."""
    if st.session_state.setdefault(SHOWN, points.what) != points.what:
        st.session_state[SHOWN] = points.what
        st.query_params.pop(AREA, None)
        st.session_state[CLUSTER] = None
    if not points.clusters:
        return None
    numbers = range(points.clusters)
    return st.selectbox(
        "Cluster", numbers, index=None, placeholder="all", key=CLUSTER, bind="query-params"
    )


def colour_of(known: Sequence[str]) -> str:
    """What points are coloured by; the first, where other points have it and these do not."""
    if st.session_state.get(COLOUR, known[0]) not in known:
        st.session_state[COLOUR] = known[0]
    return st.selectbox("Colour", known, key=COLOUR, bind="query-params", width=120)


def area_of_link() -> str:
    """Empty: there is none."""
    area = st.query_params.get(AREA, "")
    try:
        if area:
            read_area(area)
    except ValueError as error:
        st.query_params.pop(AREA, None)
        left_out.say([f"{AREA}={area[: left_out.LONGEST]} ({error})"])
        return ""
    return area


def choose_area(area: str) -> None:
    """In a callback. An empty one clears the cluster too."""
    if not area:
        st.query_params.pop(AREA, None)
        st.session_state[CLUSTER] = None
        return
    try:
        read_area(area)
    except ValueError:
        return  # drawn too small to be one
    st.query_params[AREA] = area


def choose_cluster(cluster: int) -> None:
    """In a callback; the one that is chosen is given up."""
    chosen = st.session_state.get(CLUSTER) == cluster
    st.session_state[CLUSTER] = None if chosen else cluster


def target(points: MapPoints, row: int) -> tuple[str, dict[str, Any]]:
    """The page that shows a point, and the selection there."""
    point = points.frame.iloc[row]
    if points.what == "experts":
        layer_id, expert_id = int(point.layer_id), int(point.expert_id)
        return "specialization", {"layers": (layer_id,), "experts": ((layer_id, expert_id),)}
    doc_id = int(point.doc_id)
    tokens = ((doc_id, int(point.position)),) if points.what == "tokens" else ()
    return "prompts", {"texts": (doc_id,), "tokens": tokens}
