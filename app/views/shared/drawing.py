"""Panels on a page."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from app.trace import Trace
from app.views.shared import controls, figure_menu, leads
from app.views.shared.controls import Marks
from app.views.shared.layer_names import as_in_model
from app.views.shared.panel import Panel


def draw(
    panel: Panel,
    *,
    subject: str | Trace,
    key: str | None = None,
    on_select: Any = "ignore",
    select: Marks = "points",
    file: bool = True,
) -> Any:
    """Title, answer, figure, note, rows, file, as far as there are. What is selected in the figure.

    `subject` is the trace, training or model that files are named after. `file` is False where the
    file of another panel has the rows of a table; a figure always has its menu.
    """
    selected, key = None, key or panel.name
    if panel.names and isinstance(subject, Trace) and on_select == "ignore":
        on_select = partial(leads.follow_mark, panel.names, key, subject)
    if panel.title:
        st.markdown(f"**{panel.title}**")
    if panel.answer:
        controls.answer(panel.answer)
    if panel.figure is not None:
        selected = controls.chart(
            panel.figure, alt=panel.alt, key=key, on_select=on_select, select=select
        )
    if panel.note:
        controls.note(panel.note)
    _draw_rows(panel, subject)
    if file or panel.figure is not None:
        _draw_file(panel, subject, chart=key)
    return selected


def _draw_rows(panel: Panel, subject: str | Trace) -> None:
    if panel.preview_title:
        st.markdown(f"**{panel.preview_title}**")
    if panel.preview is not None and isinstance(subject, Trace):
        leads.table(panel.preview, name=panel.name, trace=subject)
    elif panel.preview is not None:
        controls.preview(panel.preview, name=panel.name)


def _draw_file(panel: Panel, subject: str | Trace, *, chart: str) -> None:
    """Of a figure the menu, which has its table too."""
    if panel.figure is None:
        draw_file(panel.table, name=panel.name, subject=subject)
        return
    draw_menu(panel.table, name=panel.name, chart=chart, subject=subject)


def draw_menu(table: pd.DataFrame, *, name: str, chart: str, subject: str | Trace) -> None:
    """Of what stands on the page under the key `chart`."""
    figure_menu.draw(_leaving(table, subject), name=name, chart=chart, subject=_name(subject))


def draw_file(table: pd.DataFrame, *, name: str, subject: str | Trace) -> None:
    controls.download(_leaving(table, subject), name=name, trace=_name(subject))


def _name(subject: str | Trace) -> str:
    return subject if isinstance(subject, str) else subject.name


def _leaving(table: pd.DataFrame, subject: str | Trace) -> pd.DataFrame:
    return table if isinstance(subject, str) else as_in_model(table, subject)


def draw_side_by_side(panel: Panel, *, subject: str | Trace) -> None:
    """The figure on the left, its rows on the right, the note below both."""
    left, right = st.columns(2, gap="large")
    with left:
        draw(replace(panel, note="", preview=None), subject=subject)
    with right:
        _draw_rows(panel, subject)
    controls.note(panel.note)


def draw_abreast(panels: Sequence[Panel], *, subject: str | Trace, columns: int = 2) -> None:
    """Row by row, so many in each."""
    for first in range(0, len(panels), columns):
        row = panels[first : first + columns]
        for column, panel in zip(st.columns(columns, gap="large"), row, strict=False):
            with column:
                draw(panel, subject=subject)
