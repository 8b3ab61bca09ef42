"""What is over-represented among some points of a map, as tables.

P = points, M = landmarks, I = items, D = documents.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from analysis import queries
from analysis.brush import Brush, frequent, over_represented, with_q
from app.trace import BY_IDENTITY, Trace
from app.views.domain_clusters.map_points import BY_KEY, MapPoints
from app.views.shared.selection import Selection
from app.views.shared.theme import token_mark
from data.routing import NO_EXPERT

MOST_COUNTS = 20_000_000  # of experts in texts: of more, fewer texts are read
NO_SAMPLE = "Experts are no sample of texts, so there is no interval."


@dataclass(frozen=True, slots=True)
class Found:
    tables: dict[str, pd.DataFrame]  # domains, experts, words, layers
    note: str


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
        table = _of_categories(frame.domain, brush, "domain")
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


def _of_categories(values: pd.Series, brush: Brush, name: str) -> pd.DataFrame:
    code_P, names = values.cat.codes.to_numpy().astype(np.int64), values.cat.categories
    kept_I, table = _compared(code_P, len(names), brush)
    return table.assign(**{name: np.asarray(names, object)[kept_I]})[[name, *table]]


def _of_words(frame: pd.DataFrame, brush: Brush) -> pd.DataFrame:
    """With where the first of each stands, among the points compared."""
    code_P, names = frame.text.cat.codes.to_numpy().astype(np.int64), frame.text.cat.categories
    kept_I, table = _compared(code_P, len(names), brush)
    first_I = np.full(len(names), -1)
    here = np.flatnonzero(brush.inside_P)[::-1]
    first_I[code_P[here]] = here
    first_K = first_I[kept_I]
    words = [token_mark(str(names[place])) for place in kept_I]
    table.insert(0, "text", words)
    for name in ("doc_id", "position"):
        values = pd.array(frame[name].to_numpy()[first_K].astype(np.int64), dtype="Int64")
        table[name] = values
        table.loc[first_K < 0, name] = pd.NA
    return table


def _of_layers(frame: pd.DataFrame, brush: Brush) -> pd.DataFrame:
    layer_P = frame.layer_id.to_numpy().astype(np.int64)
    kept_I, table = _compared(layer_P, int(layer_P.max()) + 1, brush)
    return table.assign(layer_id=kept_I)[["layer_id", *table]]


def _of_first_choices(
    trace: Trace, points: MapPoints, inside_P: np.ndarray, among_P: np.ndarray, of_all: Brush
) -> pd.DataFrame:
    """Of the landmarks, which are as many of every domain: they count as much as the points of the
    domain that each stands for."""
    here_M = among_P[points.landmark_M]
    places, landmarks = points.landmark_M[here_M], points.landmarks[here_M]
    brush = Brush.of(inside_P[places], points.frame.unit.to_numpy()[places])
    domain_P = points.frame.domain.cat.codes.to_numpy()
    all_D, some_D = (
        np.bincount(of, minlength=len(points.domains))
        for of in (domain_P[among_P], domain_P[places])
    )
    weight_M = (all_D / np.maximum(some_D, 1))[domain_P[places]]
    sizes = brush.sizes(weight_M)
    freedom = np.nan if of_all.note else brush.freedom
    tables = []
    for layer_id in trace.layers:
        expert_M = landmarks[f"expert_{layer_id}"].to_numpy().astype(np.int64)
        expert_M = np.where(expert_M == NO_EXPERT, -1, expert_M)
        count = trace.info.layers[layer_id].num_experts
        kept_I = frequent(expert_M, count)
        item_M = _renumbered(expert_M, kept_I, count)
        table = over_represented(
            brush.counts(item_M, len(kept_I), weight_M),
            sizes,
            freedom,
            points_2BI=brush.counts(item_M, len(kept_I)),
        )
        tables.append(table.assign(layer_id=layer_id, expert_id=kept_I))
    return _experts_first(pd.concat(tables, ignore_index=True))


def _of_loads(trace: Trace, frame: pd.DataFrame, brush: Brush) -> pd.DataFrame:
    """By all choices of the texts, or of some of them where there would be too many counts."""
    each = trace.info.num_layers * trace.info.num_experts
    step = max(1, len(frame) * each // MOST_COUNTS)
    read = np.arange(0, len(frame), step)
    load = _loads(trace, tuple(frame.doc_id.to_numpy()[read].tolist()))
    of_text = pd.Series(np.arange(len(frame)), index=frame.doc_id.to_numpy())
    place_R = of_text.loc[load.doc_id].to_numpy()
    item_R = load.layer_id.to_numpy() * trace.info.num_experts + load.expert_id.to_numpy()
    of_texts = Brush(brush.inside_P[place_R], brush.bag_P[place_R], brush.freedom, brush.note)
    choices_I = np.bincount(item_R, load.tokens, minlength=each)
    kept_I = np.flatnonzero(choices_I)
    counts = of_texts.counts(_renumbered(item_R, kept_I, each), len(kept_I), load.tokens.to_numpy())
    layer_K = kept_I // trace.info.num_experts
    tables = []
    for layer_id in np.unique(layer_K):
        of_layer = layer_K == layer_id
        here = counts[..., of_layer]
        table = over_represented(here, here.sum(-1), brush.freedom)
        expert_id = kept_I[of_layer] % trace.info.num_experts
        tables.append(table.assign(layer_id=layer_id, expert_id=expert_id))
    return _experts_first(pd.concat(tables, ignore_index=True))


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=BY_IDENTITY)
def _loads(trace: Trace, doc_ids: tuple[int, ...]) -> pd.DataFrame:
    with trace.cursor() as con:
        load = queries.document_load(con)
    return load[load.doc_id.isin(doc_ids)].reset_index(drop=True)


def _compared(item_P: np.ndarray, count: int, brush: Brush) -> tuple[np.ndarray, pd.DataFrame]:
    """The items that are frequent enough, and their rows."""
    kept_I = frequent(item_P, count)
    counts = brush.counts(_renumbered(item_P, kept_I, count), len(kept_I))
    return kept_I, over_represented(counts, brush.sizes(), brush.freedom)


def _renumbered(item_P: np.ndarray, kept_I: np.ndarray, count: int) -> np.ndarray:
    """The place of each among those kept, -1 for others."""
    place = np.full(count + 1, -1)
    place[kept_I] = np.arange(len(kept_I))
    return place[item_P]


def _others(table: pd.DataFrame, named: frozenset[object]) -> pd.DataFrame:
    experts = zip(table.layer_id, table.expert_id, strict=True)
    return table[np.array([expert not in named for expert in experts], dtype=bool)]


def _without_intervals(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(low=np.nan, high=np.nan, p=np.nan)


def _experts_first(table: pd.DataFrame) -> pd.DataFrame:
    first = ["layer_id", "expert_id"]
    return table[[*first, *(name for name in table if name not in first)]]
