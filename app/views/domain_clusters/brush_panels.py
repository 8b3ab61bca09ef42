"""The points that stand out: how many, and what is over-represented among them. P = points."""

import numpy as np
import pandas as pd
import streamlit as st

from app.trace import Trace
from app.views.domain_clusters.brushed import brushed
from app.views.domain_clusters.map_points import MapPoints
from app.views.shared import controls, over_represented
from app.views.shared.drawing import draw, draw_file
from app.views.shared.selection import Selection
from app.views.shared.theme import visible

LEAST = 0.01  # of the points, of a domain in the sentence
NAMED = 3  # domains in the sentence
AREAS = (
    "Areas are drawn where points lie together: this describes one, and does not show that it is "
    "special."
)
NO_OTHERS = "No other points are left to compare these with."
MOSTLY = "Selected: texts that choose the expert more often than any other of its layer."
BY_LANDMARKS = "Experts: first choices of {count:,} landmarks."


def draw_brush(
    trace: Trace,
    points: MapPoints,
    inside_P: np.ndarray,
    among_P: np.ndarray,
    *,
    selection: Selection,
) -> None:
    found = brushed(trace, points, inside_P, among_P, selection)
    panels = over_represented.panels(found)
    for one in panels:
        draw(one, subject=trace, file=False)
    if found.tables:
        reading = over_represented.reading("here", "among the others")
        of_experts = MOSTLY if selection.experts and points.what == "prompts" else ""
        lines = [of_experts, found.note, reading, AREAS, _sample(points, found.tables)]
        controls.note(" ".join(filter(None, lines)))
    elif inside_P.any():
        controls.note(NO_OTHERS)
    if not inside_P.any():
        return
    with st.container(horizontal=True, gap="small"):
        for one in panels:
            draw_file(one.table, name=one.name, subject=trace)
        draw_file(points.frame[inside_P], name=f"selected_{points.what}", subject=trace)


def answer(points: MapPoints, inside_P: np.ndarray, among_P: np.ndarray) -> str:
    count, of = int(inside_P.sum()), int(among_P.sum())
    kind = points.what if among_P.all() else f"selected {points.what}"
    if points.is_first_look:
        kind += " of this first look"
    if not count:
        return f"None of the {of:,} {kind} is all that is selected: remove a part of the selection."
    domains = points.frame.domain[inside_P].value_counts()
    most = domains[domains >= LEAST * count].head(NAMED)
    named = [f"{visible(str(name))} {n / count:.0%}" for name, n in most.items()]
    rest = int((domains > 0).sum()) - len(most)
    more = f" and {rest} more" if rest else ""
    return f"{count:,} of {of:,} {kind}: {', '.join(named)}{more}."


def _sample(points: MapPoints, tables: dict[str, pd.DataFrame]) -> str:
    if points.what != "tokens" or "experts" not in tables:
        return ""
    if len(points.landmark_M) == len(points):
        return ""
    return BY_LANDMARKS.format(count=len(points.landmark_M))
