"""The points that stand out: how many, and what is over-represented among them. P = points."""

import numpy as np
import pandas as pd
import streamlit as st

from app.trace import Trace
from app.views.domain_clusters.brushed import brushed
from app.views.domain_clusters.map_points import MapPoints
from app.views.shared import controls
from app.views.shared.drawing import draw, draw_file
from app.views.shared.panel import Panel
from app.views.shared.selection import Selection
from app.views.shared.theme import visible

LISTED = 6  # rows of a table
LEAST = 0.01  # of the points, of a domain in the sentence
PLACES = ("doc_id", "position")
NAMED = 3  # domains in the sentence
TITLES = {
    "domains": "Domains",
    "experts": "Experts",
    "words": "Tokens",
    "layers": "Layers",
}
READING = (
    "Ratio: their share here over that among the others, with 95 % intervals and q over groups of "
    "texts, all tables together. Areas are drawn where points lie together: this describes one, "
    "and does not show that it is special."
)
BY_LANDMARKS = "Experts: first choices of {count:,} landmarks."


def draw_brush(
    trace: Trace,
    points: MapPoints,
    inside_P: np.ndarray,
    among_P: np.ndarray,
    *,
    selection: Selection,
) -> None:
    controls.answer(answer(points, inside_P, among_P))
    found = brushed(trace, points, inside_P, among_P, selection)
    panels = [panel(name, table) for name, table in found.tables.items()]
    for one in panels:
        draw(one, subject=trace, file=False)
    if found.tables:
        controls.note(" ".join(filter(None, [found.note, READING, _sample(points, found.tables)])))
    if not inside_P.any():
        return
    with st.container(horizontal=True, gap="small"):
        for one in panels:
            draw_file(one.table, name=one.name, subject=trace)
        draw_file(points.frame[inside_P], name=f"selected_{points.what}", subject=trace)


def answer(points: MapPoints, inside_P: np.ndarray, among_P: np.ndarray) -> str:
    count, of = int(inside_P.sum()), int(among_P.sum())
    kind = points.what if among_P.all() else f"selected {points.what}"
    if not count:
        return f"None of the {of:,} {kind} lies here."
    domains = points.frame.domain[inside_P].value_counts()
    most = domains[domains >= LEAST * count].head(NAMED)
    named = [f"{visible(str(name))} {n / count:.0%}" for name, n in most.items()]
    rest = int((domains > 0).sum()) - len(most)
    more = f" and {rest} more" if rest else ""
    return f"{count:,} of {of:,} {kind}: {', '.join(named)}{more}."


def panel(name: str, table: pd.DataFrame) -> Panel:
    """The rows of most over-represented items; the file has all that were compared."""
    shown = table[table.ratio > 1].head(LISTED)
    left_out, last = ("share", "share_of_rest", "p"), [name for name in PLACES if name in table]
    columns = [name for name in table if name not in (*left_out, *last)] + last
    return Panel(
        name=f"{name}_here",
        table=table,
        title=TITLES[name],
        preview=shown[columns] if len(shown) else None,
        note="" if len(shown) else "None is more frequent here than among the others.",
    )


def _sample(points: MapPoints, tables: dict[str, pd.DataFrame]) -> str:
    if points.what != "tokens" or "experts" not in tables:
        return ""
    if len(points.landmark_M) == len(points):
        return ""
    return BY_LANDMARKS.format(count=len(points.landmark_M))
