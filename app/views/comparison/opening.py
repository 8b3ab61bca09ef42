"""Shipped traces on the other pages: a copy among one's own, beside which results can lie."""

import filecmp
from itertools import count
from pathlib import Path

import streamlit as st

from app import folders, workspace
from app.views.comparison.families import TITLES, trace_path
from app.views.shared import controls


def draw_opening() -> None:
    """A button for each trace."""
    controls.note("Each of the three is a trace. Opening one copies it to your own traces:")
    with st.container(horizontal=True):
        clicked = [
            model
            for model, title in TITLES.items()
            if st.button(f"Open {title}", key=f"open_{model}", icon=":material/open_in_new:")
        ]
    for model in clicked:
        try:
            name = copy(trace_path(model))
        except (ValueError, OSError) as error:
            controls.refused("The trace was not copied.", error)
            return
        st.switch_page("views/overview/page.py", query_params={"trace": name})


def copy(shipped: Path) -> str:
    """The name of the copy, one that no other trace has; made once."""
    for number in count(1):
        name = shipped.stem if number == 1 else f"{shipped.stem}-shipped-{number}"
        own = folders.traces() / f"{name}.duckdb"
        if not own.exists():
            workspace.save_trace(shipped, name)
            return name
        if own.is_file() and filecmp.cmp(shipped, own, shallow=False):
            return name
    raise AssertionError
