"""A text as clickable chips, one per token, coloured by its expert."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from app.views.shared.theme import visible
from data.routing import NO_EXPERT

HERE = Path(__file__).parent


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., object]:
    return st.components.v2.component(
        "routescope_token_strip",
        html='<div class="strip" role="group" aria-label="tokens"></div>',
        css=(HERE / "token_strip.css").read_text(encoding="utf-8"),
        js=(HERE / "token_strip.js").read_text(encoding="utf-8"),
    )


def draw(
    tokens: Sequence[str],
    *,
    special: Sequence[bool],
    experts: Sequence[int],
    chosen: Sequence[int],
    categories: Sequence[int],
    colors: Sequence[str],
    notes: Sequence[str],
    selected: int,
    on_click: Callable[[int], None],
) -> None:
    """Calls on_click with the index of a chip that was clicked. A note marks its chip; `chosen` is
    the number of experts of every token, empty where it does not vary. A special token is shown by
    its name, outlined."""

    def clicked() -> None:
        index = st.session_state["strip"].token
        if isinstance(index, int) and 0 <= index < len(tokens):
            on_click(index)

    _component()(
        key="strip",
        data={
            "tokens": [visible(token) for token in tokens],
            "breaks": ["\n" in token for token in tokens],
            "special": list(special),
            "experts": ["" if expert == NO_EXPERT else expert for expert in experts],
            "chosen": list(chosen),
            "categories": list(categories),
            "colors": list(colors),
            "notes": list(notes),
            "selected": selected,
            "start": 0,
        },
        on_token_change=clicked,
    )
