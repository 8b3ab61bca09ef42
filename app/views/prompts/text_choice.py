"""Which text of a trace or of a run is shown, and which of its tokens."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from analysis import document_rows, queries
from app.trace import BY_IDENTITY, Trace
from app.views.shared import controls, left_out, selecting
from app.views.shared.layer_names import names_of
from app.views.shared.selection import expert_words
from app.views.shared.theme import visible
from data.words import counted

LISTED = 100  # texts that choose the selected expert most
RUN_TOKEN = "run_token"  # in a link, and so is run_text: a run is no part of the selected trace


def draw(trace: Trace, *, side: str | None = None) -> int:
    """The doc_id of a text with tokens, chosen where there are several: of a run, or without a side
    of the selection. Stops without any."""
    with trace.cursor() as con:
        documents = queries.documents(con)
    documents = documents[documents.tokens > 0].set_index("doc_id")
    said = pd.Series("", documents.index)
    if side is None:
        documents, said = _selected(trace, documents)
    if documents.empty:
        st.info("The texts have no tokens.")
        left_out.stop()
    if len(documents) == 1:
        return int(documents.index[0])
    titles = {
        row.Index: f"{row.Index} · {row.domain} · {counted(row.tokens, 'token', 'tokens')}{more} · "
        + visible(str(row.text or row.origin)[:90])
        for row, more in zip(documents.itertuples(), said.loc[documents.index], strict=True)
    }
    if side:
        kept: dict[str, Any] = {"key": f"{side}_text", "bind": "query-params"}
    else:
        of_tokens = [doc_id for doc_id, _ in selecting.current().tokens]
        named = (*selecting.current().texts[:1], *of_tokens)
        selecting.show("text", selecting.one_of(titles, named, documents.index[0]))
        kept = {"key": "text", "on_change": selecting.on_change("text", _choose)}
    label = "Text" if side else f"Text of the trace {controls.unmarked(trace.name)}"
    return int(st.selectbox(label, documents.index, format_func=titles.__getitem__, **kept))


def token(doc_id: int, positions: Sequence[int], *, of_run: bool) -> int:
    """Its place among those that were recorded; it is chosen by its position in the text."""
    first, last = positions[0], positions[-1]
    if of_run:
        if not first <= st.session_state.get(RUN_TOKEN, first) <= last:  # chosen in a longer text
            st.session_state[RUN_TOKEN] = first
        kept: dict[str, Any] = {"key": RUN_TOKEN, "bind": "query-params"}
    else:
        own = [position for of, position in selecting.current().tokens if of == doc_id]
        selecting.show("token", selecting.one_of(range(first, last + 1), own, first))
        kept = {"key": "token", "on_change": selecting.on_change("token", partial(_token, doc_id))}
    position = int(st.number_input("Token", first, last, step=1, **kept))
    return min(bisect_left(positions, position), len(positions) - 1)


def choose_token(doc_id: int, position: int, *, of_run: bool) -> None:
    """In a callback."""
    if of_run:
        st.session_state[RUN_TOKEN] = position
    else:
        selecting.select(texts=(doc_id,), tokens=((doc_id, position),))


def _selected(trace: Trace, documents: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Those of the selected domains and groups, and what the selection names; all where there are
    none. First those that choose the selected expert most, and what is said of that."""
    selection, said = selecting.current(), pd.Series("", documents.index)
    named = {*selection.texts, *(doc_id for doc_id, _ in selection.tokens)}
    chosen = pd.Series(True, documents.index)
    if selection.domains:
        chosen &= documents.domain.isin(selection.domains)
    if selection.groups:
        chosen &= documents.unit.isin(selection.groups)
    if not chosen.any():
        controls.note("No text is of the selected domains and groups: all are listed.")
    else:
        documents = documents[chosen | documents.index.isin(named)]
    if selection.experts:
        most = _choosing(trace, selection.experts[0])
        most = most[most.index.isin(documents.index)]
        order = [*most.index, *documents.index.difference(most.index, sort=False)]
        documents = documents.loc[order]
        share = (most.tokens / most.choices).map(" · {:.1%} of choices".format)
        said = share.reindex(said.index, fill_value="")
        expert = expert_words(selection.experts[0], names_of(trace))
        controls.note(f"First the texts that choose expert {expert} most beyond its load.")
    return documents, said


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs=BY_IDENTITY)
def _choosing(trace: Trace, expert: tuple[int, int]) -> pd.DataFrame:
    """By doc_id."""
    with trace.cursor() as con:
        return document_rows.expert_documents(
            con, layer_id=expert[0], expert_id=expert[1], limit=LISTED
        ).set_index("doc_id")


def _choose(doc_id: int) -> None:
    selecting.select(texts=(doc_id,), tokens=())


def _token(doc_id: int, position: int) -> None:
    selecting.select(tokens=((doc_id, int(position)),))
