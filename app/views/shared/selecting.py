"""The selection of a browser tab: from its link, kept while pages change, and back into the link.

A page reads `current()`. A control that changes a part calls `select()`, and is not bound to the
link itself.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic, sleep, time_ns
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from streamlit.runtime.scriptrunner import RerunException, StopException, get_script_run_ctx

from app.trace import Trace
from app.views.shared import left_out
from app.views.shared.layer_names import NUMBERED, LayerNames, names_of
from app.views.shared.selection import PARAMETERS, Link, Selection, from_link, link
from app.views.shared.selection_check import checked, texts_of

KEY = "selection"
AT_ONCE = 2.0  # seconds in which nobody goes back from a page that is not there yet
ON_ITS_WAY = 0.4  # seconds in which a browser that is told to goes back
OF_TEXTS = ("groups", "texts", "tokens")  # numbers that another trace gives to other texts


@dataclass(slots=True)
class _State:
    """Of a tab."""

    selection: Selection = field(default_factory=Selection)
    texts: str = ""  # which texts its numbers are of
    names: LayerNames = NUMBERED
    written: Link = field(default_factory=dict)  # in the address
    page: str = ""
    on_the_way_from: str = ""  # another page, until this one was shown
    since: float = 0.0  # by the clock of this process
    arrived: bool = True  # on this page, in this run
    bare: set[str] = field(default_factory=set)  # pages shown with nothing in the address
    following: tuple[str, dict[str, str]] | None = None  # page and query that a callback asked for
    uses: Collection[str] = ()  # parts that make a difference on this page
    gone_back: bool = False  # in this run, to the step behind a page that was left
    back: dict[str, str] = field(default_factory=dict)  # where the browser is to go in this run
    shown: dict[str, Any] = field(default_factory=dict)  # what controls show, by key
    left: dict[object, Link] = field(default_factory=dict)  # whole addresses, by page and step
    address: Link = field(default_factory=dict)  # of the page, when it was last shown


def _state() -> _State:
    if KEY not in st.session_state:
        st.session_state[KEY] = _State()
    state: _State = st.session_state[KEY]
    return state


def arrive(page: str) -> None:
    """Before a page runs: it, or what a callback has asked for. A browser that sends what was typed
    just after it left for another page is called back: it goes on to that page."""
    state = _state()
    if state.following:
        (following, query), state.following = state.following, None
        _open(following, query)
    if page == state.on_the_way_from and monotonic() - state.since < AT_ONCE:
        following, state.on_the_way_from = state.page, ""
        st.switch_page(f"views/{following}/page.py")
    if page != state.page:
        state.on_the_way_from, state.since = state.page, monotonic()
        for step in ({}, state.written):  # the second, where the page is quicker than the browser
            state.left[_step(state.page, step)] = state.address
    state.arrived, state.page = page != state.page, page
    _as_left(state)
    left_out.begin(_own_asked() if state.arrived or _by_history() else None)


@contextmanager
def shown() -> Iterator[None]:
    """Around a page: unless it begins anew, it is shown when it ends."""
    try:
        yield
        left_out.end()
    except RerunException:
        left_out.find()
        raise
    except StopException:
        _leave()
        raise
    _leave()


def _leave() -> None:
    state = _state()
    state.on_the_way_from, state.address = "", _address()
    state.left.pop(_step(state.page, state.address), None)  # a page of its own, and no step behind


def asked_trace() -> str:
    """The name in the address, or of the last page's trace; empty: none yet."""
    asked = _asked(_state())
    return _state().selection.trace if asked is None else next(iter(asked.get("trace", ())), "")


def begin(trace: Trace, *, default: str, uses: Collection[str] = ()) -> list[str]:
    """What this run of a page about a trace has selected, from now on `current()`. In words, what
    is asked for and not there. `default`: the trace without a name in the address; `uses`: the
    parts that make a difference here, in the singular where only the first value does."""
    state, names = _state(), names_of(trace)
    state.uses = uses
    asked, unknown = _asked(state), list[str]()
    selection = state.selection
    if asked is not None:
        selection, unknown = from_link(asked, names, trace.info.num_layers)
    missing = selection.trace not in ("", trace.name)
    own = not any(getattr(selection, part) for part in OF_TEXTS)
    if not own and (missing or (asked is None and state.texts != texts_of(trace))):
        unknown += [
            *(f"group {doc_id}" for doc_id in selection.groups),
            *(f"text {doc_id}" for doc_id in selection.texts),
            *(f"token {doc_id}:{position}" for doc_id, position in selection.tokens),
        ]
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
    """The browser first writes the new address under the old page, as a step of its own: whoever
    goes back to that step is to see the page as it was left."""
    state = _state()
    before = _address()
    state.written = link(state.selection, state.names)
    state.left[_step(state.page, {**state.written, **_values(query)})] = before
    st.switch_page(f"views/{page}/page.py", query_params={**state.written, **query})


def arrived() -> bool:
    """The page was opened in this run, by a link or from another page."""
    return _state().arrived


def back() -> dict[str, str]:
    """Where the browser is to go from here, and the `run` that says so: back to this page with a
    query, or without one to the page before; empty: nowhere."""
    return _state().back


def wait_for_browser() -> None:
    """This run ends if it goes where back() says; if it stays, the page is shown."""
    if back():
        sleep(ON_ITS_WAY)


def used() -> Collection[str]:
    """The parts of the selection that the page shows, or its controls change; in the singular where
    it is only the first value."""
    return _state().uses


def layer_id() -> int:
    """The layer that a page about one is about."""
    selection = current()
    return next(iter(selection.layers), next(iter(selection.experts), (0, 0))[0])


def select_layer(layer_id: int) -> None:
    """And the expert of the same number, where one is selected."""
    experts = tuple((layer_id, expert_id) for _, expert_id in current().experts[:1])
    select(layers=(layer_id,), experts=experts)


def show(key: str, value: Any) -> None:
    """What the control of that key shows, before it is drawn."""
    st.session_state[key] = _state().shown[key] = value


def on_change(key: str, act: Callable[[Any], None]) -> Callable[[], None]:
    """A callback of a control that show() was called for. A browser that is called back from the
    way to another page sends again what every control shows: that changes nothing."""

    def changed() -> None:
        value = st.session_state[key]
        if value != _state().shown.get(key):
            act(value)

    return changed


def one_of(options: Collection[Any], part: Sequence[Any], usual: Any) -> Any:
    """The first of a part that is among these."""
    return next((one for one in part if one in options), usual)


def _step(page: str, address: Link) -> object:
    return page, tuple(sorted((name, tuple(of)) for name, of in address.items()))


def _values(query: Mapping[str, str]) -> Link:
    return {name: [value] for name, value in query.items()}


def _own_asked() -> Link:
    """Of the page's own controls."""
    return {name: of for name, of in _address().items() if name not in PARAMETERS.values()}


def _address() -> Link:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def _by_history() -> bool:
    """This run was asked for by back or forward."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def _as_left(state: _State) -> None:
    """The whole address of a page as it was last left, instead of that of the step behind it: a
    page that is opened can take two steps, first its bare address or the new one under the old
    page. Whoever goes back to such a step is sent on to the one before it.

    Only by back and forward: who chooses a page in the sidebar takes along what is selected, and
    Streamlit keeps the page's own controls.
    """
    here, context = _address(), get_script_run_ctx()
    is_bare = not here and state.page not in state.bare
    left = here
    if _by_history() and (state.arrived or is_bare):
        left = state.left.get(_step(state.page, here), here)
    state.gone_back, state.back = left != here, {}
    if not state.gone_back or context is None:
        return
    if not (state.arrived and is_bare):  # which is the way forward
        query = "" if is_bare else urlencode(left, doseq=True)
        state.back = {"run": f"{time_ns()}", "query": query}
    with context.session_state.query_params() as parameters:  # also of controls, which st.query_
        parameters.clear_with_no_forward_msg(preserve_embed=True)  # params does not let one set
        for name, values in left.items():
            parameters.set_with_no_forward_msg(name, values)
        parameters.set_initial_query_params_from_current()
        if not state.back:
            parameters.update()  # the browser is told


def _asked(state: _State) -> Link | None:
    """What the address asks for; None: nothing that is new."""
    given = {name: st.query_params.get_all(name) for name in PARAMETERS.values()}
    asked = {name: values for name, of in given.items() if (values := [one for one in of if one])}
    if state.gone_back:
        return asked
    if asked == state.written:
        return None
    if state.arrived and asked in ({}, {"trace": [state.selection.trace]}):
        return None  # another page was chosen
    if not asked and state.page not in state.bare:
        return None  # the browser went back to a page before its address was written
    return asked


def _write(state: _State, default: str) -> None:
    written = link(state.selection, state.names)
    before = {name: st.query_params.get_all(name) for name in PARAMETERS.values()}
    if state.selection == Selection(trace=default) and not before["trace"]:
        written = {}
        state.bare.add(state.page)
    after: Link = {name: written.get(name, []) for name in PARAMETERS.values()}
    if after != before:
        st.query_params.update({name: after[name] for name in after if after[name] != before[name]})
    state.written = written
