"""A text as clickable chips, one per token, with what their colours mean beside it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from app.views.prompts import panels
from app.views.prompts.meaning import NO_ENTRY, Meaning
from app.views.prompts.meanings import DOMAIN, EXPERT
from app.views.shared.theme import EMPTY, ink, unseen, visible
from data.routing import NO_EXPERT

HERE = Path(__file__).parent
KEY = "strip"


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., object]:
    return st.components.v2.component(
        "routescope_token_strip",
        html='<div class="board"><div class="strip" role="group"></div>'
        '<div class="legend" role="group" aria-label="what colours mean"></div></div>',
        css=(HERE / "token_strip.css").read_text(encoding="utf-8"),
        js=(HERE / "token_strip.js").read_text(encoding="utf-8"),
    )


def draw(
    here: pd.DataFrame,
    colours: Meaning,
    *,
    alt: str,
    chosen: Sequence[int],
    notes: Sequence[str],
    selected: int,
    marked: Sequence[bool],
    reveal: bool,
    on_click: Callable[[int], None],
) -> None:
    """`here`: the first choices of a layer. Calls on_click with the index of a chip that was
    clicked. `marked`: tokens that chose the selected expert, as any of their choices. A note marks
    its chip; `chosen` is the number of experts of every token, empty where it does not vary. A
    special token is shown by its name, outlined. `reveal`: the page moves to the selected token."""

    def clicked() -> None:
        index = st.session_state[KEY].token
        if isinstance(index, int) and 0 <= index < len(here):
            on_click(index)

    marks = {"chosen": list(chosen), "notes": list(notes), "selected": selected, "mark": EMPTY}
    marks |= {"marked": list(marked), "reveal": reveal and selected, "alt": alt}
    _component()(
        key=KEY,
        data=chips(here, colours) | marks | {"legend": legend(here, colours)},
        on_token_change=clicked,
    )


def chips(here: pd.DataFrame, colours: Meaning) -> dict[str, Any]:
    """What the tokens are, a list each; no ink where the text keeps its colour."""
    fills, texts = colours.colors(here), panels.token_texts(here)
    return {
        "tokens": [visible(text) for text in texts],
        "special": panels.special_tokens(here),
        "unseen": [unseen(text) for text in texts],
        "breaks": ["\n" in text for text in texts],
        "experts": ["" if expert == NO_EXPERT else str(expert) for expert in here.expert_id],
        "places": colours.places(here).tolist(),
        "fills": fills,
        "inks": [ink(fill) for fill in fills] if colours.ramp else [],
        "values": [_said(colours, value) for value in colours.values(here)],
    }


def legend(here: pd.DataFrame, colours: Meaning) -> dict[str, Any]:
    """Entries with the share of the tokens that are of each, and the ramp of an amount."""
    places = colours.places(here)
    known = bool((places == NO_ENTRY).any())  # an amount of some token
    counts = np.bincount(places[places != NO_ENTRY], minlength=len(colours.entries))
    return {
        "title": colours.title,
        "entries": [
            {
                "name": entry.name,
                "words": list(entry.words),
                "detail": entry.detail,
                "color": entry.color,
                "quiet": entry.quiet,
                "count": int(count),
                "share": f"{count / len(here):.0%}",
            }
            for entry, count in zip(colours.entries, counts, strict=True)
        ],
        "amount": bool(colours.ramp),
        "ramp": list(colours.ramp) if known else [],
        "ticks": list(colours.ticks),
    }


def _said(colours: Meaning, value: str | float) -> str:
    """What a chip tells beside its expert."""
    if isinstance(value, str):
        return {DOMAIN: f"domain: {value}", EXPERT: ""}.get(colours.by, value)
    return f"{colours.by} " + ("unknown" if np.isnan(value) else f"{value:.2f} nats")
