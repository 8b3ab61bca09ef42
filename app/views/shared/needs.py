"""What a trace lacks, in one sentence where a page would show it."""

import streamlit as st

from analysis import queries
from app.trace import BY_IDENTITY, Trace
from app.views.shared import controls, left_out

COUNTS_ONLY = "This trace counts choices and names no token"
GIVE_DOMAINS = "`routescope import --domain-from` gives each file one."
NO_IDS = "This trace does not name the ids of its tokens"
ONE_DOMAIN = (
    "All texts belong to one domain, or have none, so there is nothing to compare. Label texts of "
    "two or more domains to see which experts prefer which."
)
NO_WEIGHTS = (
    "This trace has expert ids but no mixing weights: choices are counted, weights are not shown."
)


def tokens(trace: Trace, unseen: str) -> None:
    """Stops a page about single tokens where none is known; `unseen`: what it would show."""
    if trace.info.counts_only:
        st.info(f"{COUNTS_ONLY}: {unseen} cannot be told. Load balance shows what was counted.")
        left_out.stop()


def domains(trace: Trace, unseen: str) -> None:
    """Stops a page about domains where counts have none."""
    if trace.info.counts_only and len(trace.domains) < 2:
        st.info(f"{COUNTS_ONLY}, and has no domains: {unseen} cannot be told. {GIVE_DOMAINS}")
        left_out.stop()


def token_ids(trace: Trace, unseen: str) -> None:
    """Stops a page about token ids where none is known."""
    tokens(trace, unseen)
    if not has_token_ids(trace):
        st.info(f"{NO_IDS}: {unseen} cannot be told.")
        left_out.stop()


def weights(trace: Trace) -> None:
    """Says on a page about weights that there are none; the page goes on."""
    if NO_WEIGHTS in lacking(trace):
        controls.note(NO_WEIGHTS)


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def has_token_ids(trace: Trace) -> bool:
    with trace.cursor() as con:
        return not queries.token_ids(con).empty


def lacking(trace: Trace) -> list[str]:
    """What its source leaves out, a line each."""
    if trace.info.counts_only:
        return [
            f"{COUNTS_ONLY}: loads are exact as counted, and what needs single tokens or texts is "
            "not shown."
        ]
    return [NO_WEIGHTS] if _lacks_weights(trace) else []


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def _lacks_weights(trace: Trace) -> bool:
    with trace.cursor() as con:
        return queries.weights_unknown(con)
