"""What a search names: an expert, a text by its number, a domain."""

import pandas as pd
import streamlit as st

from app import evidence
from app.trace import Trace
from app.views.search.panels import domain_panel
from app.views.shared import controls, limits, needs, selecting
from app.views.shared.drawing import draw
from app.views.shared.intervals import RATIO
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel


def draw_expert(trace: Trace, expert: tuple[int, int]) -> None:
    layer_id, expert_id = expert
    st.subheader(f"Expert {expert_id} of {names_of(trace)[layer_id]}", anchor=False)
    loads = evidence.expert_loads(trace)
    row = loads[(loads.layer_id == layer_id) & (loads.expert_id == expert_id)]
    controls.answer(expert_answer(trace, row.iloc[0]))
    if st.button("Open its card", icon=":material/grid_on:", key="open_expert"):
        selecting.go("specialization", layers=(layer_id,), experts=(expert,))


def expert_answer(trace: Trace, row: pd.Series) -> str:
    """Its load, and the domain of its highest lift."""
    if pd.isna(row.estimate):
        return f"It is {row.note}."
    span = "" if pd.isna(row.low) else f" ({RATIO.span(2**row.low, 2**row.high)})"
    loaded = f"{row.n_tokens:,} choices, {RATIO.text(2**row.estimate)}{span} the layer's mean"
    lifts = evidence.lifts(trace) if evidence.compares_domains(trace) else pd.DataFrame()
    if lifts.empty:
        return f"{loaded}."
    own = lifts[(lifts.layer_id == row.layer_id) & (lifts.expert_id == row.expert_id)]
    own = own[own.estimate.notna()]
    if own.empty:
        return f"{loaded}."
    best = own.loc[own.estimate.idxmax()]
    return f"{loaded}. Highest lift: {RATIO.text(2**best.estimate)}, for {best.domain}."


def draw_document(trace: Trace, rows: pd.DataFrame) -> None:
    doc_id = int(rows.doc_id.iloc[0])
    st.subheader(f"Text {doc_id}", anchor=False)
    shown = ["doc_id", "domain", "group", "origin", "tokens", "text"]
    draw(Panel(name="text", table=rows, preview=rows[shown]), subject=trace, file=False)
    if not rows.tokens.iloc[0]:
        controls.note("It has no tokens.")
    elif st.button("Read it token by token", icon=":material/edit_note:", key="open_text"):
        selecting.go("prompts", texts=(doc_id,), tokens=())


def draw_domain(trace: Trace, domain: str) -> None:
    st.subheader(controls.unmarked(f"Domain {domain}"), anchor=False)
    if not evidence.compares_domains(trace):
        limits.draw_lines([needs.ONE_DOMAIN])
        return
    draw(domain_panel(trace, domain), subject=trace)
    if st.button(
        "Select this domain",
        icon=":material/filter_alt:",
        key=f"open_domain_{trace.domains.index(domain)}",
    ):
        selecting.go("specialization", domains=(domain,))
