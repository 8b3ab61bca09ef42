"""The domain that a page is about, or the phase, or all texts."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from app.views.shared import selecting
from data.labels import ALL_DOMAINS

KEY = "domain"


def domain_of(label: str, names: Sequence[str], *, phases: Sequence[str] = (), width: int) -> str:
    """The selected one of these names, or the first; `phases`: which of them are no domains."""
    selection = selecting.current()
    phase = [selection.phase] if selection.phase in phases else []
    selecting.show(KEY, selecting.one_of(names, (*selection.domains, *phase), names[0]))
    chosen = selecting.on_change(KEY, partial(_choose, phases))
    return str(st.selectbox(label, names, key=KEY, width=width, on_change=chosen))


def _choose(phases: Sequence[str], name: str) -> None:
    if name in phases:
        selecting.select(domains=(), phase=name)
    else:
        selecting.select(domains=() if name == ALL_DOMAINS else (name,))
        if phases:
            selecting.select(phase="")
