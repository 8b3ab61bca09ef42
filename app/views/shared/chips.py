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
SHOWN = tuple(part for part in EMPTY if part != "trace")


def draw(trace: Trace) -> None:
    """Nothing where nothing is selected."""
    selection, uses = selecting.current(), selecting.used()
    chips = [
        (part, value, words)
        for part in SHOWN
        for value, words in _chips(part, selection, names_of(trace))
    ]
    if not chips:
        return
    with st.container(horizontal=True, gap="xsmall", key="chips"):
        for place, (part, value, words) in enumerate(chips):
            st.button(
                controls.unmarked(words),
                key=f"chip_{place}{'' if part in uses else '_unused'}",
                icon=":material/close:",
                icon_position="right",
                help="Remove" if part in uses else UNUSED,
                on_click=_remove,
                args=(part, value),
            )
        if len(chips) > 1:
            st.button("Clear", key="chips_clear", type="tertiary", on_click=_clear)


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
