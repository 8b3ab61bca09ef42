"""Tokens or phrases in their texts, a line each, that leads to the text token by token."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from app.trace import Trace
from app.views.shared import controls, leads
from app.views.shared.layer_names import names_of
from app.views.shared.selection import Selection, link
from app.views.shared.theme import domain_colors, visible

HERE = Path(__file__).parent


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., object]:
    return st.components.v2.component(
        "routescope_contexts",
        html='<div class="contexts"></div>',
        css=(HERE / "contexts.css").read_text(encoding="utf-8"),
        js=(HERE / "contexts.js").read_text(encoding="utf-8"),
    )


def draw(contexts: pd.DataFrame, trace: Trace, *, labels: list[str], key: str) -> None:
    """`contexts`: doc_id, position (NA: the text is opened at its beginning), domain, before, text,
    after. A label stands before each."""

    def opened() -> None:
        index = st.session_state[key].opened
        if isinstance(index, int) and 0 <= index < len(contexts):
            leads.to(leads.lead_of(contexts.iloc[index].to_dict(), trace))

    _component()(key=key, data={"rows": lines(contexts, trace, labels)}, on_opened_change=opened)


def lines(contexts: pd.DataFrame, trace: Trace, labels: list[str]) -> list[dict[str, str]]:
    """What the lines show, as text, and where they lead."""
    colors = domain_colors(trace.domains, controls.palette())
    return [
        {
            "before": visible(row["before"]),
            "text": visible(row["text"]),
            "after": visible(row["after"]),
            "label": label,
            "color": colors[row["domain"]],
            "title": f"text {row['doc_id']}, {row['domain']}",
            "href": _href(row, trace),
        }
        for row, label in zip(contexts.to_dict("records"), labels, strict=True)
    ]


def _href(row: dict[Any, Any], trace: Trace) -> str:
    lead = leads.lead_of(row, trace)
    assert lead is not None
    named = link(Selection(trace=trace.name, **lead.changes), names_of(trace))
    return f"{lead.page}?{urlencode(named, doseq=True)}"
