"""The map itself: a component that draws packed points, and tells what is clicked and drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from app.views.domain_clusters.parcels import Parcel

HERE = Path(__file__).parent
KEY = "map"
HINT = (
    "Drag to move, scroll to zoom, shift-drag to draw an area, click a point to open it. Keys: "
    "arrows, + - 0, L (all in view), Enter (open), Escape (clear)."
)
NOWHERE = "No point is here. Press 0 or ⤢ to see them all."
BUTTONS = (  # name, face, what it does
    ("lasso", "Draw an area", "Draw around points (or hold shift while dragging)"),
    ("visible", "Take what is in view", "Take the points in view (key L)"),
    ("clear", "Clear", "Clear the area, the cluster and what the legend shows alone (Escape)"),
)
ZOOM = (
    ("closer", "+", "Zoom in (key +)"),
    ("further", "\N{MINUS SIGN}", "Zoom out (key -)"),
    ("whole", "⤢", "Show the whole map (key 0)"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one run of the page shows: parcels of bytes, and what lies on them."""

    what: str
    points: Parcel
    colours: Parcel
    chosen: Parcel
    marked: int  # the point of the selection's token, or -1
    labels: Sequence[dict[str, object]]
    area: str
    cluster: int | None
    neutral: str  # the colour of points that others stand out from


def draw(shown: Shown, *, on_area: Callable[[str], None], on_cluster: Callable[[int], None]) -> int:
    """The point that was clicked, or -1. Bytes that the browser has are not sent again."""

    def area_changed() -> None:
        on_area(str(st.session_state[KEY].area))

    def cluster_changed() -> None:
        cluster = st.session_state[KEY].cluster
        if isinstance(cluster, int):
            on_cluster(cluster)

    with st.container(key="map_parcels"):
        for kind in ("points", "colours", "chosen"):
            _parcel()(key=f"map_{kind}", data=getattr(shown, kind).data)
    state: Any = _map()(
        key=KEY,
        data={
            **{kind: getattr(shown, kind).id for kind in ("points", "colours", "chosen")},
            "what": shown.what,
            "labels": list(shown.labels),
            "area": shown.area,
            "cluster": shown.cluster,
            "neutral": shown.neutral,
            "marked": shown.marked,
            "hint": HINT,
            "nowhere": NOWHERE,
        },
        on_point_change=lambda: None,
        on_area_change=area_changed,
        on_cluster_change=cluster_changed,
    )
    return state.point if isinstance(state.point, int) else -1


def _script(*names: str) -> str:
    return "\n".join((HERE / f"map_{name}.js").read_text(encoding="utf-8") for name in names)


@st.cache_resource(show_spinner=False)
def _parcel() -> Callable[..., object]:
    end = "export default ({ data }) => keepParcel(data);"
    return st.components.v2.component(
        "routescope_map_parcel", html="<i></i>", js=f"{_script('data')}\n{end}"
    )


@st.cache_resource(show_spinner=False)
def _map() -> Callable[..., object]:
    return st.components.v2.component(
        "routescope_map",
        html=_html(),
        css=(HERE / "map.css").read_text(encoding="utf-8"),
        js=_script("data", "paint", "view", "words", "hands", "image", "end"),
    )


def _html() -> str:
    zoom = "".join(_button(*button) for button in ZOOM)
    others = "".join(_button(*button) for button in BUTTONS)
    return (
        '<div class="map"><div class="stage">'
        '<canvas tabindex="0" role="application" aria-label="Map of points: arrow keys move, plus '
        "and minus zoom, 0 shows all, L takes what is in view, Enter opens the point in the "
        'middle, Escape clears"></canvas>'
        '<svg class="drawn" aria-hidden="true"><polygon class="area"></polygon></svg>'
        '<div class="labels"></div><div class="mark" hidden></div><div class="ring" hidden></div>'
        '<div class="legend" role="group" aria-label="what colours mean"></div>'
        f'<div class="tools" role="toolbar" aria-label="map"><div>{zoom}</div>{others}</div>'
        '<div class="tip" role="status" hidden></div><p class="hint" hidden></p>'
        "</div></div>"
    )


def _button(name: str, face: str, title: str) -> str:
    return f'<button type="button" class="{name}" title="{title}">{face}</button>'
