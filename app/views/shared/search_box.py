"""The box at the top of the sidebar of every page, which opens the page Search."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app.views.shared import selecting

HERE = Path(__file__).parent
LABEL = "Search this trace"
PAGE, QUERY = "search", "q"  # its box has the same label, and this key


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., object]:
    return st.components.v2.component(
        "routescope_search_box", js=(HERE / "search_box.js").read_text(encoding="utf-8")
    )


def draw(page: str) -> None:
    """On the page of that address, before it runs."""
    with st.sidebar:
        form = st.form("search_box", border=False, clear_on_submit=True)
        row = form.container(horizontal=True, gap="xsmall", key="search_box_row")
        text = row.text_input(
            LABEL, placeholder="Search  ( / )", label_visibility="collapsed", key="search_text"
        )
        asked = row.form_submit_button("", icon=":material/search:", help="Search")
        with form:
            data = {"label": LABEL, "back": selecting.back()}
            _component()(key="search_shortcut", data=data, height=1)
    if not (asked and text):
        return
    st.session_state[QUERY] = text
    if page != PAGE:
        st.switch_page(f"views/{PAGE}/page.py", query_params={QUERY: text})
