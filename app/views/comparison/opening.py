"""Shipped traces on the other pages: a copy among one's own, beside which results can lie."""

import filecmp
from pathlib import Path

import streamlit as st

from app import folders, workspace
from app.views.comparison.families import TITLES, trace_path
from app.views.shared import controls


def draw_opening() -> None:
    """A button for each trace."""
    controls.note(
        "Each of the three is a trace. To see it on every page, copy it to your own traces:"
    )
    with st.container(horizontal=True):
        clicked = [
            model
            for model, title in TITLES.items()
            if st.button(f"Open {title}", key=f"open_{model}", icon=":material/open_in_new:")
        ]
    for model in clicked:
        try:
            copy(trace_path(model))
        except (ValueError, OSError) as error:
            controls.refused("The trace was not copied.", error)
            return
        st.switch_page("views/overview/page.py", query_params={"trace": model})


def copy(shipped: Path) -> None:
    """Once; ValueError: another trace has its name."""
    own = folders.traces() / shipped.name
    if own.is_file() and filecmp.cmp(shipped, own, shallow=False):
        return
    if own.exists():
        raise ValueError(f"{own} is another trace; move or rename it, then try again")
    workspace.save_trace(shipped, shipped.stem)
