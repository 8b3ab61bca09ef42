"""What the points of a map are coloured by, from the trace. P = points."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import streamlit as st
from duckdb import DuckDBPyConnection

from analysis import arrays, document_rows, queries
from app.trace import Trace
from app.views.domain_clusters.map_points import BY_KEY, MapPoints
from data.routing import NO_EXPERT, PHASES

Rows = Mapping[str, np.ndarray]


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_KEY)
def experts(trace: Trace, points: MapPoints, layer_id: int) -> np.ndarray:
    """The first choice of a token in a layer, the expert that a prompt chooses most there [P];
    NO_EXPERT where there is none."""
    if points.what == "prompts":
        return _busiest(trace, points, layer_id)
    rows = _asked(
        trace, points, lambda con, ids: document_rows.first_choices(con, layer_id, doc_ids=ids)
    )
    return _aligned(points, rows, rows["expert_id"].astype(np.int16), NO_EXPERT)


def choosing(trace: Trace, points: MapPoints, expert: tuple[int, int]) -> np.ndarray:
    """Which tokens chose an expert, by its layer and number; which prompts most often did [P]."""
    layer_id, expert_id = expert
    if points.what == "prompts":
        return experts(trace, points, layer_id) == expert_id
    rows = _asked(
        trace,
        points,
        lambda con, ids: document_rows.tokens_choosing(con, layer_id, expert_id, doc_ids=ids),
    )
    return _aligned(points, rows, np.ones(len(rows["doc_id"]), dtype=bool), False)


def entropies(trace: Trace, points: MapPoints, layer_id: int) -> np.ndarray:
    """The entropy of the gate in a layer, of a prompt the mean of its tokens [P]; NaN: unknown."""
    if points.what == "prompts":
        with trace.cursor() as con:
            sums = queries.document_gate(con)
        of = sums[sums.layer_id == layer_id].set_index("doc_id")
        return (of.entropy / of.decisions).reindex(points.frame.doc_id).to_numpy(float)
    rows = _asked(
        trace, points, lambda con, ids: document_rows.token_entropies(con, layer_id, doc_ids=ids)
    )
    return _aligned(points, rows, rows["entropy"], np.nan)


def losses(trace: Trace, points: MapPoints) -> np.ndarray:
    """nats of a token, of a prompt the mean of its tokens [P]; NaN: unknown."""
    if points.what == "prompts":
        with trace.cursor() as con:
            sums = queries.document_loss(con).set_index("doc_id")
        mean = sums.loss / sums.losses.where(sums.losses > 0)
        return mean.reindex(points.frame.doc_id).to_numpy(float)
    rows = _asked(trace, points, lambda con, ids: document_rows.token_losses(con, doc_ids=ids))
    return _aligned(points, rows, rows["loss"], np.nan)


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_KEY)
def phases(trace: Trace, points: MapPoints) -> np.ndarray:
    """A place in PHASES of every token [P]."""
    rows = _asked(trace, points, lambda con, ids: document_rows.token_losses(con, doc_ids=ids))
    return _aligned(points, rows, rows["phase"].astype(np.int16), len(PHASES))


def _asked(
    trace: Trace,
    points: MapPoints,
    ask: Callable[[DuckDBPyConnection, Sequence[int] | None], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Of the texts on the map; of all of them, without naming each."""
    doc_ids = points.doc_ids
    with trace.cursor() as con:
        return ask(con, None if len(doc_ids) == trace.info.num_documents else doc_ids)


def _aligned(points: MapPoints, rows: Rows, value_R: np.ndarray, missing: float) -> np.ndarray:
    """The value of each point; both are in the order of texts and positions."""
    place_R, place_P = arrays.places(rows), arrays.places(points.frame)
    if np.array_equal(place_R, place_P):
        return value_R
    if not len(place_R):
        return np.full(len(place_P), missing, value_R.dtype)
    row_P = np.minimum(np.searchsorted(place_R, place_P), len(place_R) - 1)
    return np.where(place_R[row_P] == place_P, value_R[row_P], value_R.dtype.type(missing))


def _busiest(trace: Trace, points: MapPoints, layer_id: int) -> np.ndarray:
    with trace.cursor() as con:
        load = queries.document_load(con)
    load = load[load.layer_id == layer_id].sort_values(["tokens", "expert_id"], kind="stable")
    busiest = load.drop_duplicates("doc_id", keep="last").set_index("doc_id").expert_id
    found = busiest.reindex(points.frame.doc_id).fillna(NO_EXPERT)
    return found.to_numpy(np.int16)
