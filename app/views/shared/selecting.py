"""The selection of a browser tab: from its link, kept while pages change, and back into the link.

A page reads `current()`. A control that changes a part calls `select()`, and is not bound to the
link itself.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import streamlit as st

from app.trace import Trace
from app.views.shared.layer_names import NUMBERED, LayerNames, names_of
from app.views.shared.selection import PARAMETERS, Link, Selection, from_link, link
from app.views.shared.selection_check import checked, texts_of

KEY = "selection"
OF_TEXTS = ("groups", "texts", "tokens")  # numbers that another trace gives to other texts


@dataclass(slots=True)
class _State:
    """Of a tab."""

    selection: Selection = field(default_factory=Selection)
    texts: str = ""  # which texts its numbers are of
    names: LayerNames = NUMBERED
    written: Link = field(default_factory=dict)  # in the address
    page: str = ""
    arrived: bool = True  # on this page, in this run
    bare: set[str] = field(default_factory=set)  # pages shown with nothing in the address
    following: tuple[str, dict[str, str]] | None = None  # page and query that a callback asked for
    uses: Collection[str] = ()  # parts that make a difference on this page


def _state() -> _State:
    if KEY not in st.session_state:
        st.session_state[KEY] = _State()
    state: _State = st.session_state[KEY]
    return state


def arrive(page: str) -> None:
    """Before a page runs: it, or what a callback has asked for."""
    state = _state()
    if state.following:
        (following, query), state.following = state.following, None
        _open(following, query)
    state.arrived, state.page = page != state.page, page


def asked_trace() -> str:
    """The name in the address, or of the last page's trace; empty: none yet."""
    asked = _asked(_state())
    return _state().selection.trace if asked is None else next(iter(asked.get("trace", ())), "")


def begin(trace: Trace, *, default: str, uses: Collection[str] = ()) -> list[str]:
    """What this run of a page about a trace has selected, from now on `current()`. In words, what
    is asked for and not there. `default`: the trace without a name in the address; `uses`: the
    parts that make a difference here."""
    state, names = _state(), names_of(trace)
    state.uses = uses
    asked, unknown = _asked(state), list[str]()
    selection = state.selection
    if asked is not None:
        selection, unknown = from_link(asked, names, trace.info.num_layers)
    missing = selection.trace not in ("", trace.name)
    own = not any(getattr(selection, part) for part in OF_TEXTS)
    if not own and (missing or (asked is None and state.texts != texts_of(trace))):
        selection = replace(selection, groups=(), texts=(), tokens=())
    state.selection, gone = checked(replace(selection, trace=trace.name), trace)
    state.texts = texts_of(trace)  # also of what is selected next
    state.names = names
    _write(state, default)
    return unknown + gone


def current() -> Selection:
    return _state().selection


def select(**changes: Any) -> None:
    """Replace parts, in a callback or before the page runs again."""
    state = _state()
    state.selection = replace(state.selection, **changes)


def go(page: str, **changes: Any) -> None:
    """Open a page with these parts replaced; not in a callback."""
    select(**changes)
    _open(page, {})


def open_next(page: str, query: Mapping[str, str] = MappingProxyType({})) -> None:
    """The same from a callback, once the selection is as it should be. `query`: what else stands in
    the link."""
    state = _state()
    if page != state.page:
        state.following = page, dict(query)
        return
    for name, value in query.items():
        st.query_params[name] = value


def _open(page: str, query: dict[str, str]) -> None:
    state = _state()
    state.written = link(state.selection, state.names)
    st.switch_page(f"views/{page}/page.py", query_params={**state.written, **query})


def used() -> Collection[str]:
    """The parts of the selection that the page shows, or its controls change."""
    return _state().uses


def layer_id() -> int:
    """The layer that a page about one is about."""
    selection = current()
    return next(iter(selection.layers), next(iter(selection.experts), (0, 0))[0])


def select_layer(layer_id: int) -> None:
    """And the expert of the same number, where one is selected."""
    experts = tuple((layer_id, expert_id) for _, expert_id in current().experts[:1])
    select(layers=(layer_id,), experts=experts)


def on_change(key: str, **parts: Callable[[Any], Any]) -> Callable[[], None]:
    """A callback: what the control of that key has, as parts of the selection."""

    def changed() -> None:
        value = st.session_state[key]
        select(**{part: of(value) for part, of in parts.items()})

    return changed


def one_of(options: Collection[Any], part: Sequence[Any], usual: Any) -> Any:
    """The first of a part that is among these."""
    return next((one for one in part if one in options), usual)


def _asked(state: _State) -> Link | None:
    """What the address asks for; None: nothing that is new."""
    asked = {
        name: values for name in PARAMETERS.values() if (values := st.query_params.get_all(name))
    }
    if asked == state.written:
        return None
    if state.arrived and asked in ({}, {"trace": [state.selection.trace]}):
        return None  # another page was chosen
    if not asked and state.page not in state.bare:
        return None  # the browser went back to a page before its address was written
    return asked


def _write(state: _State, default: str) -> None:
    written = link(state.selection, state.names)
    if state.selection == Selection(trace=default):
        written = {}
        state.bare.add(state.page)
    before = {name: st.query_params.get_all(name) for name in PARAMETERS.values()}
    after: Link = {name: written.get(name, []) for name in PARAMETERS.values()}
    if after != before:
        st.query_params.update({name: after[name] for name in after if after[name] != before[name]})
    state.written = written
