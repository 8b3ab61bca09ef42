"""A part of a page that a click has changed comes into view."""

from collections.abc import Callable
from time import time_ns

import streamlit as st

KEY = "revealed"  # in a tab: the anchor of the next
SCRIPT = """export default function ({ data, parentElement }) {
  const place = parentElement.querySelector("i");
  if (!data.when || place.dataset.when === data.when) return;
  place.dataset.when = data.when;
  document.getElementById(data.anchor)?.scrollIntoView({ block: "start", behavior: "smooth" });
}"""


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., object]:
    return st.components.v2.component("routescope_reveal", html="<i></i>", js=SCRIPT)


def ask(anchor: str) -> None:
    """In a callback."""
    st.session_state[KEY] = anchor


def draw(anchor: str) -> None:
    """Beside the part of that anchor."""
    when = str(time_ns()) if st.session_state.pop(KEY, None) == anchor else ""
    with st.container(key=f"reveal_{anchor}"):
        _component()(key=f"reveal_component_{anchor}", data={"anchor": anchor, "when": when})
