"""What is searched for."""

import streamlit as st

from app.trace import Trace
from app.views.search import found
from app.views.search.within import Within
from app.views.shared import controls
from app.views.shared.layer_names import names_of
from app.views.shared.search_box import LABEL, QUERY
from app.views.shared.theme import visible

EXPRESSION = "As RE2 reads it; upper and lower case differ, unless it begins with (?i)."


def draw_form() -> tuple[str, bool]:
    """As typed; whether it is a regular expression."""
    with st.container(
        horizontal=True, gap="medium", vertical_alignment="bottom", key="search_form"
    ):
        text = st.text_input(
            LABEL,
            key=QUERY,
            bind="query-params",
            placeholder="Token, phrase, domain, layer:expert or number of a text",
            label_visibility="collapsed",
            width=560,
        )
        regex = st.checkbox("Regular expression", key="regex", bind="query-params", help=EXPRESSION)
    return text or "", regex


def draw_examples(trace: Trace, within: Within) -> None:
    """What can be searched for, by names that this trace has: a click searches for one."""
    controls.note("For example:")
    for place, (example, what) in enumerate(examples(trace, within).items()):
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            shown = controls.unmarked(visible(example))
            st.button(shown, key=f"example_{place}", on_click=_ask, args=(example,))
            controls.note(what)


def examples(trace: Trace, within: Within) -> dict[str, str]:
    """What each finds."""
    names = names_of(trace)
    found_by: dict[str, str] = {}
    if word := found.usual_word(trace, within):
        found_by[word] = "a token: the experts it chooses in every layer, its contexts, its domains"
    found_by[f"{names.choice(0)}:0"] = f"expert 0 of {names[0]}"
    if trace.domains:
        found_by[trace.domains[0]] = "a domain: its experts"
    if beginning := found.beginning(trace, within):
        found_by[beginning] = "a phrase: the texts that contain it"
    return found_by


def _ask(example: str) -> None:
    st.session_state[QUERY] = example
