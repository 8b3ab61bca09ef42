"""The texts in which is searched: all, or those of the selection."""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app import stored
from app.trace import Trace
from app.views.shared import controls, selecting

PARTS = ("domains", "groups", "texts")  # of the selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """Of one of these domains, one of these groups, one of these texts; an empty part is all."""

    domains: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    texts: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.domains or self.groups or self.texts)

    def documents(self, trace: Trace) -> pd.DataFrame:
        """Their rows of stored.documents()."""
        rows = stored.documents(trace)
        parts = {"domain": self.domains, "unit": self.groups, "doc_id": self.texts}
        for column, part in parts.items():
            if part:
                rows = rows[rows[column].isin(part)]
        return rows

    def doc_ids(self, trace: Trace) -> list[int] | None:
        """None: all."""
        return self.documents(trace).doc_id.tolist() if self else None


EVERYWHERE = Within()


def selected() -> Within:
    selection = selecting.current()
    return Within(**{part: getattr(selection, part) for part in PARTS})


def draw_within(trace: Trace, within: Within) -> None:
    """What is searched, and how to search all; nothing where nothing is selected."""
    if not within:
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        with st.container(width="content"):
            controls.note(in_words(trace, within))
        st.button("Search all texts", key="search_all", type="tertiary", on_click=_search_all)


def in_words(trace: Trace, within: Within) -> str:
    count, of = len(within.documents(trace)), trace.info.num_documents
    if not count:
        return "No text is in all that is selected, so tokens and phrases are found nowhere."
    return (
        f"Tokens and phrases: in the {count:,} selected of {of:,} texts. Experts, domains and "
        "numbers of texts: in the whole trace."
    )


def _search_all() -> None:
    selecting.select(**dict.fromkeys(PARTS, ()))
