"""A form that is folded when a page opens on a phone, where it would fill the first screen."""

from collections.abc import Callable

import streamlit as st

PHONE = 640  # pixels, as in style.css
SCRIPT = """export default function ({ data, parentElement }) {
  const place = parentElement.querySelector("i");
  if (place.dataset.done) return;
  place.dataset.done = "1"; // whoever opens it after that has it open
  if (innerWidth > data.phone) return;
  document.querySelector(`.st-key-${data.form} details[open] > summary`)?.click();
}"""


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., object]:
    return st.components.v2.component("routescope_folded", html="<i></i>", js=SCRIPT)


def draw(form: str) -> None:
    """Below the form, an expander in a container of that key."""
    with st.container(key="reveal_form"):
        _component()(key="folded", data={"form": form, "phone": PHONE})
