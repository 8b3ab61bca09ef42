"""Which text of a trace is shown."""

import streamlit as st

from analysis import queries
from app.trace import Trace
from app.views.shared.theme import visible


def draw(trace: Trace, *, key: str = "text") -> int:
    """The doc_id of a text with tokens, chosen where there are several. Stops without any."""
    with trace.cursor() as con:
        documents = queries.documents(con)
    documents = documents[documents.tokens > 0].set_index("doc_id")
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
    doc_id = st.selectbox(
        "Text", documents.index, format_func=titles.__getitem__, key=key, bind="query-params"
    )
    return int(doc_id)
