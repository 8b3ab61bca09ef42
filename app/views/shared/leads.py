"""Where the rows of tables and the marks of figures lead: to what they name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import streamlit as st

from app.trace import Trace
from app.views.shared import controls, reveal, selecting
from app.views.shared.layer_names import as_in_model
from app.views.shared.panel import Names

HINT = "Select a row to open what it names (Shift+Space on the keyboard)."
CARD = "expert"  # the anchor of an expert's card
LOOKED_AT = 20  # rows, to find out whether they name anything
USED = "rows_used"  # in a tab: the hint has done its work


@dataclass(frozen=True, slots=True)
class Lead:
    page: str  # empty: the one that is open, where it shows a layer
    changes: Mapping[str, Any]  # of the selection
    query: Mapping[str, str] = field(default_factory=dict)  # what else stands in its link


def lead_of(row: Mapping[Any, Any], trace: Trace) -> Lead | None:
    """What a row names: a token of a text, a text, an expert, a pair, a layer, a word, a domain;
    None: nothing."""
    known = {name: value for name, value in row.items() if not pd.isna(value)}
    layer, doc = known.get("layer_id"), known.get("doc_id")
    domain = known.get("domain")
    domains = {"domains": (domain,)} if domain in trace.domains else {}
    if doc is not None:
        tokens = ((int(doc), int(known["position"])),) if "position" in known else ()
        return Lead("prompts", {"texts": (int(doc),), "tokens": tokens})
    if layer is not None:
        experts = tuple(
            (int(layer), int(known[name]))
            for name in ("expert_id", "expert_a", "expert_b", "next_expert_id")
            if name in known
        )
        if "next_expert_id" in known:
            experts = (experts[0], (int(layer) + 1, experts[-1][1]))
        page = "specialization" if experts else ""
        return Lead(page, {"layers": (int(layer),), "experts": experts} | domains)
    if str(known.get("text", "")).strip():
        return Lead("search", {}, {"q": str(known["text"])})
    return Lead("specialization", domains) if domains else None


def table(frame: pd.DataFrame, *, name: str, trace: Trace) -> None:
    """A preview whose rows lead to what they name."""
    follow = follower(frame, name=name, trace=trace)
    controls.preview(as_in_model(frame, trace), name=name, on_select=follow)
    if follow:
        hint()


def follower(frame: pd.DataFrame, *, name: str, trace: Trace) -> Callable[[], None] | None:
    """What the selection of a row calls; None: rows of this table name nothing."""
    if not any(lead_of(row, trace) for row in frame.head(LOOKED_AT).to_dict("records")):
        return None

    def follow() -> None:
        for place in st.session_state[controls.rows_key(name)].selection.rows:
            to(lead_of(frame.iloc[place].to_dict(), trace))

    return follow


def follow_mark(names: Names, key: str, trace: Trace) -> None:
    """In a callback: to what the mark of a figure names that was clicked."""
    for point in st.session_state[key].selection.points[:1]:
        to(lead_of(names(point["x"], point["y"]), trace))


def hint() -> None:
    """How rows are selected, once on a page until one was."""
    if USED not in st.session_state and controls.first_time(USED):
        controls.note(HINT)


def to(lead: Lead | None) -> None:
    """In a callback: the page is opened when it runs again."""
    if lead is None:
        return
    st.session_state[USED] = True
    selecting.select(**lead.changes)
    if lead.page == "specialization" and lead.changes.get("experts"):
        reveal.ask(CARD)
    page = lead.page or ("specialization" if not {"layer", "layers"} & {*selecting.used()} else "")
    if page:
        selecting.open_next(page, lead.query)
