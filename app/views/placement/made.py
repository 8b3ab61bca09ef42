"""Maps of a trace, kept: what is read of it, and what is planned with the controls as they are."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from analysis.placement.maps import Placement
from analysis.placement.policies import EPLB
from analysis.placement.sample import PlacedTexts, read_texts
from analysis.placement.table import Compared
from app.studies import placement
from app.studies.placement import Planned, Settings
from app.trace import BY_IDENTITY, Trace

KEYS = BY_IDENTITY | {Placement: lambda current: current.experts_LP.tobytes()}


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=BY_IDENTITY)
def texts_of(trace: Trace) -> PlacedTexts:
    with trace.cursor() as con:
        return read_texts(con, trace.info)


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=KEYS)
def planned(trace: Trace, settings: Settings, current: Placement | None) -> Planned:
    """By the policy of the settings alone."""
    return placement.planned(texts_of(trace), settings, current=current, every_policy=False)


def by_every_policy(trace: Trace, settings: Settings, current: Placement | None) -> Planned:
    """By all that differ here, the same whichever of them is chosen."""
    return _by_every_policy(trace, replace(settings, policy=EPLB), current)


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=KEYS)
def _by_every_policy(trace: Trace, settings: Settings, current: Placement | None) -> Planned:
    return placement.planned(texts_of(trace), settings, current=current)


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=KEYS)
def holds(trace: Trace, settings: Settings, current: Placement | None) -> pd.DataFrame:
    return placement.holds(texts_of(trace), planned(trace, settings, current))


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=KEYS)
def drift(
    trace: Trace, settings: Settings, current: Placement | None, today: Trace | None
) -> Compared:
    later = None if today is None else texts_of(today)
    return placement.drift(texts_of(trace), planned(trace, settings, current), today=later)
