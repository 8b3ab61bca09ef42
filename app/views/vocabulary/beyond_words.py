"""What the subject of a text decides beyond its words, on the page; computed beside the trace."""

import pandas as pd
import streamlit as st

from analysis.information_table import with_q
from analysis.significance import MAX_Q
from app.jobs import beside
from app.trace import Trace
from app.views.shared import controls, progress
from app.views.vocabulary.figures import information_bars
from data.sidecar import read_sidecar


def show(trace: Trace) -> None:
    st.markdown("**Beyond the word**")
    if len(trace.domains) < 2:
        controls.note("All texts are of one domain or unlabelled: label two to ask for subjects.")
        return
    job = beside.information(trace)
    if job and job.active:
        progress.show(job, key="information")
    elif job:
        progress.outcome(job, failed="This could not be computed.")
    try:
        found = read_sidecar(trace.path, "information")
    except ValueError as error:
        st.error("The stored result cannot be read. Delete it to compute it again.")
        st.code(str(error), language=None)
        return
    if found is None:
        controls.note("It appears here when it is ready, or make it with `routescope information`.")
        return
    _bars(trace, with_q(found[0]))


def _bars(trace: Trace, table: pd.DataFrame) -> None:
    known = table[table.beyond.notna()]
    if known.empty:
        controls.note(f"It cannot be said: {table.reason.iloc[0]}.")
        return
    sure = known[(known.q < MAX_Q) & (known.beyond > 0)]
    controls.answer(
        f"In {len(sure)} of {len(table)} layers the subject of a text decides something that the "
        f"token does not (q < {MAX_Q}). It does not say what: style and topic are both the subject."
    )
    alt = "Bars: information about the domain by layer, alone and beyond the token"
    controls.chart(information_bars(known, controls.palette()), alt=alt, key="information")
    controls.note(
        "Nats a choice, less what texts dealt to domains at random give; 0 where that is more. "
        "Line: where 95 % of other samples of as many texts would put it; upwards it is long, "
        "since what is taken off may be too much. p: the rank among 50 deals; q: over layers. "
        + " ".join(
            f"Layer {r.layer_id}: {r.reason}." for r in table[table.beyond.isna()].itertuples()
        )
    )
    controls.table(table, name="information_beyond_token", trace=trace.name)
