"""Which text of a trace or of a run is shown, and which of its tokens."""

from typing import Any

import pandas as pd
import streamlit as st

from analysis import queries
from app.trace import Trace
from app.views.shared import controls, selecting
from app.views.shared.theme import visible

RUN_TOKEN = "run_token"  # in a link, and so is run_text: a run is no part of the selected trace


def draw(trace: Trace, *, side: str | None = None) -> int:
    """The doc_id of a text with tokens, chosen where there are several: of a run, or without a side
    of the selection. Stops without any."""
    with trace.cursor() as con:
        documents = queries.documents(con)
    documents = documents[documents.tokens > 0].set_index("doc_id")
    if side is None:
        documents = _selected(documents)
    if documents.empty:
        st.info("The texts have no tokens.")
        st.stop()
    if len(documents) == 1:
        return int(documents.index[0])
    titles = {
        row.Index: f"{row.Index} · {row.domain} · {row.tokens} tokens · "
        + visible(str(row.text or row.origin)[:90])
        for row in documents.itertuples()
    }
    if side:
        kept: dict[str, Any] = {"key": f"{side}_text", "bind": "query-params"}
    else:
        of_tokens = [doc_id for doc_id, _ in selecting.current().tokens]
        named = (*selecting.current().texts[:1], *of_tokens)
        st.session_state["text"] = selecting.one_of(titles, named, documents.index[0])
        kept = {"key": "text", "on_change": _choose}
    return int(st.selectbox("Text", documents.index, format_func=titles.__getitem__, **kept))


def token(doc_id: int, num_tokens: int, *, of_run: bool) -> int:
    """Its place in the text, by number."""
    if of_run:
        if st.session_state.get(RUN_TOKEN, 0) >= num_tokens:  # chosen in a longer text
            st.session_state[RUN_TOKEN] = 0
        kept: dict[str, Any] = {"key": RUN_TOKEN, "bind": "query-params"}
    else:
        own = [position for of, position in selecting.current().tokens if of == doc_id]
        st.session_state["token"] = selecting.one_of(range(num_tokens), own, 0)
        chosen = selecting.on_change("token", tokens=lambda place: ((doc_id, int(place)),))
        kept = {"key": "token", "on_change": chosen}
    return int(st.number_input("Token", 0, num_tokens - 1, step=1, **kept))


def choose_token(doc_id: int, place: int, *, of_run: bool) -> None:
    """In a callback."""
    if of_run:
        st.session_state[RUN_TOKEN] = place
    else:
        selecting.select(texts=(doc_id,), tokens=((doc_id, place),))


def _selected(documents: pd.DataFrame) -> pd.DataFrame:
    """Those of the selected domains and groups, and what the selection names; all where there are
    none."""
    selection = selecting.current()
    named = {*selection.texts, *(doc_id for doc_id, _ in selection.tokens)}
    chosen = pd.Series(True, documents.index)
    if selection.domains:
        chosen &= documents.domain.isin(selection.domains)
    if selection.groups:
        chosen &= documents.unit.isin(selection.groups)
    some = documents[chosen | documents.index.isin(named)]
    if some.empty:
        controls.note("No text is of the selected domains and groups: all are listed.")
        return documents
    return some


def _choose() -> None:
    selecting.select(texts=(st.session_state["text"],), tokens=())
