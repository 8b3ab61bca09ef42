"""The selection as chips under the question of a page, each of which can be removed."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.trace import Trace
from app.views.shared import controls, selecting
from app.views.shared.layer_names import LayerNames, names_of
from app.views.shared.selection import EMPTY, Selection, expert_words

MOST = 4  # of one part; more are one chip
UNUSED = "This page shows everything; other pages use it. Click to remove it."
ONLY_FIRST = "This page shows the first one alone; other pages use it. Click to remove it."
SHOWN = tuple(part for part in EMPTY if part != "trace")


def draw(trace: Trace) -> None:
    """Nothing where nothing is selected."""
    selection = selecting.current()
    chips = [
        (part, value, words, _unused(part, number))
        for part in SHOWN
        for number, (value, words) in enumerate(_chips(part, selection, names_of(trace)))
    ]
    if not chips:
        return
    with st.container(horizontal=True, gap="xsmall", key="chips"):
        for place, (part, value, words, unused) in enumerate(chips):
            st.button(
                controls.unmarked(words),
                key=f"chip_{place}{'_unused' if unused else ''}",
                icon=":material/close:",
                icon_position="right",
                help=unused or "Remove",
                on_click=_remove,
                args=(part, value),
            )
        if len(chips) > 1:
            st.button("Clear selection", key="chips_clear", type="tertiary", on_click=_clear)


def _unused(part: str, number: int) -> str:
    """Why the value at that place makes no difference on the page; empty: it does."""
    uses = selecting.used()
    if part in uses or (part[:-1] in uses and number == 0):
        return ""
    return ONLY_FIRST if part[:-1] in uses else UNUSED


def _chips(part: str, selection: Selection, names: LayerNames) -> list[tuple[object, str]]:
    """Value and words of each; no value stands for the whole part."""
    values = getattr(selection, part)
    if part == "phase":
        return [(None, values)] if values else []
    if len(values) > MOST:
        return [(None, f"{len(values):,} {part}")]
    words: dict[str, Callable[[Any], str]] = {
        "layers": lambda layer: names.first(layer),
        "experts": lambda one: f"Expert {expert_words(one, names)}",
        "domains": str,
        "groups": lambda doc_id: f"Group of text {doc_id}",
        "texts": lambda doc_id: f"Text {doc_id}",
        "tokens": lambda one: f"Token {one[1]} of text {one[0]}",
    }
    return [(value, words[part](value)) for value in values]


def _remove(part: str, value: object) -> None:
    kept = selecting.current().without(part, value)
    selecting.select(**{part: getattr(kept, part)})


def _clear() -> None:
    selecting.select(**{part: EMPTY[part] for part in SHOWN})
