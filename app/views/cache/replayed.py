"""The tables of the page: of what lies beside the trace, or of a part of it, replayed at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from analysis.domain_counts import ALL_LAYERS
from analysis.offload.caches import SHARES, Setting, Subject, usual_slots
from analysis.offload.table import hit_rate_table, of_all_layers, prediction_table, subject_of
from app import stored
from app.cache_kinds import HIT_RATES, PREDICTIONS
from app.studies.offload import parameters
from app.trace import BY_IDENTITY, Trace

AT_ONCE = 300_000  # choices: what a page replays in a few seconds
FEW = SHARES[::2]


@dataclass(frozen=True, slots=True)
class Replayed:
    """One kind of cache."""

    curve: pd.DataFrame  # hit_rate_table of all layers together, every size
    predictions: pd.DataFrame
    counts: Mapping[str, Any]  # parameters() of app.studies.offload
    whole: bool  # it lies beside the trace

    @property
    def sizes(self) -> list[int]:
        return sorted(self.curve.slots.unique().tolist())


def replayed(trace: Trace, *, per_layer: bool, cold: bool) -> Replayed:
    """ValueError: there is nothing to replay."""
    rates, predictions = stored.beside(trace, HIT_RATES), stored.beside(trace, PREDICTIONS)
    if rates is not None and predictions is not None:
        curve = of_all_layers(_plain(rates.frame), per_layer=per_layer, cold=cold)
        if len(curve):
            return Replayed(curve, _plain(predictions.frame), rates.parameters, whole=True)
    return _at_once(trace, per_layer=per_layer, cold=cold)


def both_kinds(trace: Trace, *, cold: bool) -> tuple[dict[bool, pd.DataFrame], int]:
    """hit_rate_table by per_layer, of the same texts, and the least slots by layer."""
    kinds = [replayed(trace, per_layer=per_layer, cold=cold) for per_layer in (False, True)]
    if kinds[0].whole != kinds[1].whole:
        kinds = [_at_once(trace, per_layer=per_layer, cold=cold) for per_layer in (False, True)]
    one, divided = kinds
    return {False: one.curve, True: divided.curve}, int(one.counts["least_by_layer"])


def _at_once(trace: Trace, *, per_layer: bool, cold: bool) -> Replayed:
    curve = _curve(trace, per_layer=per_layer, cold=cold)
    return Replayed(curve, _predictions(trace), parameters(_subject(trace)), whole=False)


def by_layer(trace: Trace, setting: Setting, *, whole: bool) -> pd.DataFrame:
    """The rows of single layers of one cache."""
    if not whole:
        return _by_layer(trace, setting)
    table = _plain(stored.frame(trace, HIT_RATES))
    chosen = (table.per_layer == setting.per_layer) & (table.cold == setting.cold)
    return table[chosen & (table.slots == setting.slots) & (table.layer_id != ALL_LAYERS)]


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as they are computed at once: NaN where one is missing."""
    numbers = table.select_dtypes("Float64")
    return table.astype(dict.fromkeys(numbers, float))


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=BY_IDENTITY)
def _subject(trace: Trace) -> Subject:
    with trace.cursor() as con:
        return subject_of(con, trace.info, accesses=AT_ONCE)


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def _curve(trace: Trace, *, per_layer: bool, cold: bool) -> pd.DataFrame:
    subject = _subject(trace)
    settings = [
        Setting(slots=slots, per_layer=per_layer, cold=cold)
        for slots in usual_slots(subject.requests, per_layer=per_layer, shares=FEW)
    ]
    return hit_rate_table(subject, settings, by_layer=False)


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=BY_IDENTITY)
def _predictions(trace: Trace) -> pd.DataFrame:
    return prediction_table(_subject(trace))


@st.cache_resource(
    max_entries=16,
    show_spinner=False,
    hash_funcs=BY_IDENTITY | {Setting: lambda setting: repr(setting)},
)
def _by_layer(trace: Trace, setting: Setting) -> pd.DataFrame:
    table = hit_rate_table(_subject(trace), [setting])
    return table[table.layer_id != ALL_LAYERS]
