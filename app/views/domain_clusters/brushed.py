"""What is over-represented among some points of a map, as tables.

P = points, M = landmarks, D = domains, R = experts of texts.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from analysis import queries
from analysis.brush import Brush, with_q
from app.trace import BY_IDENTITY, Trace
from app.views.domain_clusters.map_points import BY_KEY, MapPoints
from app.views.shared.over_represented import PLACES, Found
from app.views.shared.selection import Selection
from app.views.shared.theme import token_mark
from data.routing import NO_EXPERT

MOST_COUNTS = 20_000_000  # of experts in texts: of more, fewer texts are read
NO_SAMPLE = "Experts are no sample of texts, so there is no interval."


def brushed(
    trace: Trace,
    points: MapPoints,
    inside_P: np.ndarray,
    among_P: np.ndarray,
    selection: Selection,
) -> Found:
    """Points that are compared, and all that they are compared with. Nothing where these are the
    same. What the selection names is not found again among its own points."""
    packed = np.packbits([inside_P, among_P], axis=1)
    named = frozenset([*selection.domains, *selection.experts]) if among_P.all() else frozenset()
    key = f"{points.key} {hash(packed.tobytes())}"
    return _brushed(trace, points, inside_P, among_P, named, key)


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_KEY)
def _brushed(
    trace: Trace,
    points: MapPoints,
    _inside_P: np.ndarray,
    _among_P: np.ndarray,
    named: frozenset[object],
    key: str,
) -> Found:
    frame, inside_P = points.frame, _inside_P
    if not _among_P.all():
        frame, inside_P = frame[_among_P], inside_P[_among_P]
    if not inside_P.any() or inside_P.all():
        return Found({}, "")
    unit_P = np.arange(len(frame)) if points.what == "experts" else frame.unit.to_numpy()
    brush = Brush.of(inside_P, unit_P)
    tables = {}
    if frame.domain.nunique() > 1:
        table = brush.by_name(frame.domain, "domain")
        tables["domains"] = table[~table.domain.isin(named)]
    if points.what == "experts":
        tables["layers"] = _of_layers(frame, brush)
        tables = {name: _without_intervals(table) for name, table in tables.items()}
        return Found(with_q(tables), NO_SAMPLE)
    if points.what == "tokens":
        tables["experts"] = _of_first_choices(trace, points, _inside_P, _among_P, brush)
        tables["words"] = _of_words(frame, brush)
    else:
        tables["experts"] = _of_loads(trace, frame, brush)
    tables["experts"] = _others(tables["experts"], named)
    return Found(with_q(tables), brush.note)


def _of_words(frame: pd.DataFrame, brush: Brush) -> pd.DataFrame:
    """With where the first of each stands, among the points compared."""
    table = brush.by_name(frame.text, "text")
    first = frame.loc[brush.inside_P, ["text", *PLACES]].drop_duplicates("text")
    places = first.set_index(first.text.astype(object))[PLACES].astype("Int64").reindex(table.text)
    marks = table.text.map(token_mark)
    return table.assign(text=marks, **{name: places[name].array for name in PLACES})


def _of_layers(frame: pd.DataFrame, brush: Brush) -> pd.DataFrame:
    layer_P = frame.layer_id.to_numpy().astype(np.int64)
    kept, table = brush.compared(layer_P, int(layer_P.max()) + 1)
    table.insert(0, "layer_id", kept)
    return table


def _of_first_choices(
    trace: Trace, points: MapPoints, inside_P: np.ndarray, among_P: np.ndarray, of_all: Brush
) -> pd.DataFrame:
    """Of the landmarks, which are as many of every domain: they count as much as the points of the
    domain that each stands for."""
    here_M = among_P[points.landmark_M]
    places, landmarks = points.landmark_M[here_M], points.landmarks[here_M]
    domain_P = points.frame.domain.cat.codes.to_numpy()
    all_D, some_D = (
        np.bincount(of, minlength=len(points.domains))
        for of in (domain_P[among_P], domain_P[places])
    )
    weight_M = (all_D / np.maximum(some_D, 1))[domain_P[places]]
    unit_M = points.frame.unit.to_numpy()[places]
    brush = Brush.of(inside_P[places], unit_M, weight_P=weight_M)
    if of_all.note:
        brush = replace(brush, freedom=np.nan)
    tables = []
    for layer_id in trace.layers:
        expert_M = landmarks[f"expert_{layer_id}"].to_numpy().astype(np.int64)
        expert_M = np.where(expert_M == NO_EXPERT, -1, expert_M)
        tables.append(_of_experts(layer_id, brush, expert_M, trace))
    return pd.concat(tables, ignore_index=True)


def _of_loads(trace: Trace, frame: pd.DataFrame, brush: Brush) -> pd.DataFrame:
    """By all choices of the texts, or of some of them where there would be too many counts."""
    each = trace.info.num_layers * trace.info.num_experts
    read = np.arange(0, len(frame), max(1, len(frame) * each // MOST_COUNTS))
    load = _loads(trace, tuple(frame.doc_id.to_numpy()[read].tolist()))
    of_text = pd.Series(np.arange(len(frame)), index=frame.doc_id.to_numpy())
    tables = []
    for _, load_R in load.groupby("layer_id"):
        place_R, tokens_R = of_text.loc[load_R.doc_id].to_numpy(), load_R.tokens.to_numpy()
        of_layer = replace(
            brush,
            inside_P=brush.inside_P[place_R],
            bag_P=brush.bag_P[place_R],
            weight_P=tokens_R,
            points_P=tokens_R,
        )
        layer_id = int(load_R.layer_id.iloc[0])
        tables.append(_of_experts(layer_id, of_layer, load_R.expert_id.to_numpy(), trace))
    return pd.concat(tables, ignore_index=True)


def _of_experts(layer_id: int, brush: Brush, expert_P: np.ndarray, trace: Trace) -> pd.DataFrame:
    kept, table = brush.compared(expert_P, trace.info.layers[layer_id].num_experts)
    table.insert(0, "layer_id", layer_id)
    table.insert(1, "expert_id", kept)
    return table


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=BY_IDENTITY)
def _loads(trace: Trace, doc_ids: tuple[int, ...]) -> pd.DataFrame:
    with trace.cursor() as con:
        load = queries.document_load(con)
    return load[load.doc_id.isin(doc_ids)].reset_index(drop=True)


def _others(table: pd.DataFrame, named: frozenset[object]) -> pd.DataFrame:
    experts = zip(table.layer_id, table.expert_id, strict=True)
    return table[np.array([expert not in named for expert in experts], dtype=bool)]


def _without_intervals(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(low=np.nan, high=np.nan, p=np.nan)
