"""Experts of a range of loads: which they are, and what is over-represented among their choices.

L = MoE layers, E = routed experts, R = documents times words, B = bags of groups, I = items.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from analysis import expert_words, queries, word_rows
from analysis.arrays import MAX_TOKENS
from analysis.brush import BAGS, MIN_POINTS, freedom_of, over_represented, with_q
from app import stored
from app.trace import BY_IDENTITY, Trace
from app.views.load_balance.figures import load_histogram
from app.views.shared import controls, needs
from app.views.shared.drawing import draw
from app.views.shared.panel import Panel
from app.views.shared.sampled import sampled
from app.views.shared.theme import token_mark

KEY, CHART = "loads", "loads_spread"  # of the range, in the link too; of the histogram
STEP = 0.05
CHOICES = 10_000_000  # that are read
LISTED = 8  # rows of a table
WIDTHS = (3, 4, 4)  # of the tables
READING = (
    "Ratio: the share among the choices of these experts over that among the choices of all "
    "others, with 95 % intervals and q over groups of texts, all tables together."
)


@dataclass(frozen=True, slots=True)
class Found:
    tables: dict[str, pd.DataFrame]  # domains, words
    read: dict[str, int]  # n_documents, n_tokens
    note: str


def draw_load_range(trace: Trace) -> None:
    """A histogram of loads, of which a part can be drawn around, or set by a slider."""
    load_LE = loads(trace)
    most = float(np.ceil(np.nanmax(load_LE) / STEP) * STEP) if np.isfinite(load_LE).any() else 0.0
    if not most:
        return
    histogram, ends = st.container(), st.container()
    with ends:
        low, high = st.slider(
            "Experts with a load of", 0.0, most, (0.0, most), STEP, key=KEY, bind="query-params"
        )
    inside_LE = (load_LE >= low) & (load_LE <= high)
    part = 0 < inside_LE.sum() < np.isfinite(load_LE).sum()
    with histogram:
        figure = load_histogram(load_LE, controls.palette(), inside_LE=inside_LE, step=STEP)
        rows = experts(load_LE, inside_LE)
        panel = Panel(
            name=CHART,
            title="How loads are spread",
            figure=figure,
            alt="Histogram: how many experts have which load",
            note="Draw a rectangle over a part of it, or move the slider's ends.",
            table=rows,
        )
        draw(panel, subject=trace, on_select=_choose, select=("box",))
    if part:
        _draw_experts(trace, rows, inside_LE)


def loads(trace: Trace) -> np.ndarray:
    """Of every expert, over the mean of its layer [L, E]; NaN where there is none."""
    tokens_LE = stored.expert_tokens(trace).astype(float)
    sizes = trace.info.layer_sizes[:, None]
    tokens_LE = np.where(np.arange(tokens_LE.shape[1]) < sizes, tokens_LE, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return tokens_LE / np.nanmean(tokens_LE, 1, keepdims=True)


def experts(load_LE: np.ndarray, inside_LE: np.ndarray) -> pd.DataFrame:
    """layer_id, expert_id, load; the busiest first."""
    layer, expert = np.nonzero(inside_LE)
    rows = pd.DataFrame({"layer_id": layer, "expert_id": expert, "load": load_LE[inside_LE]})
    return rows.sort_values("load", ascending=False, ignore_index=True)


def _choose() -> None:
    """The widest of what was drawn."""
    for box in st.session_state[CHART].selection.box[:1]:
        low, high = (_at_step(max(float(end), 0.0)) for end in sorted(box["x"]))
        st.session_state[KEY] = (low, max(high, _at_step(low + STEP)))


def _at_step(load: float) -> float:
    """As the slider has it."""
    return round(round(load / STEP) * STEP, 2)


def _draw_experts(trace: Trace, rows: pd.DataFrame, inside_LE: np.ndarray) -> None:
    here = Panel(name="experts_in_range", title="Experts", table=rows, preview=rows.head(LISTED))
    panels = [here]
    found = None
    if not trace.info.counts_only and needs.has_token_ids(trace):
        found = chosen_by(trace, inside_LE)
        panels += [_panel(name, table) for name, table in found.tables.items()]
    for column, panel in zip(st.columns(WIDTHS[: len(panels)], gap="medium"), panels, strict=True):
        with column:
            draw(panel, subject=trace)
    if found:
        controls.note(f"{found.note} {READING}{sampled(trace.info, found.read)}".strip())


def _panel(name: str, table: pd.DataFrame) -> Panel:
    """Of what is more frequent there."""
    shown = table[table.ratio > 1].head(LISTED)
    columns = [column for column in table if column not in ("share", "share_of_rest", "p")]
    return Panel(
        name=f"{name}_in_range",
        title={"domains": "Domains", "words": "Tokens"}[name],
        table=table,
        preview=shown[columns] if len(shown) else None,
        note="" if len(shown) else "None is more frequent among their choices.",
    )


def chosen_by(trace: Trace, inside_LE: np.ndarray) -> Found:
    return _chosen_by(trace, np.packbits(inside_LE).tobytes(), inside_LE.shape)


@st.cache_data(max_entries=16, show_spinner="Reading their choices", hash_funcs=BY_IDENTITY)
def _chosen_by(trace: Trace, packed: bytes, shape: tuple[int, int]) -> Found:
    inside_LE = np.unpackbits(np.frombuffer(packed, np.uint8), count=shape[0] * shape[1])
    layer, expert = np.nonzero(inside_LE.reshape(shape))
    most = max(1, CHOICES // max(1, trace.info.num_layers * max(trace.k_range[1], 1)))
    with trace.cursor() as con:
        read = expert_words.document_sample(con, tokens=min(MAX_TOKENS, most))
        documents = queries.documents(con).set_index("doc_id").loc[read.doc_id]
        rows = word_rows.range_words(
            con, doc_ids=read.doc_id.tolist(), layer_ids=layer, expert_ids=expert
        )
    counts_2R = np.stack([rows.inside, rows.choices - rows.inside])
    unit_R = documents.unit.loc[rows.doc_id].to_numpy()
    domain_R = documents.domain.loc[rows.doc_id].to_numpy()
    size_2U = pd.DataFrame(counts_2R.T).groupby(unit_R).sum().to_numpy().T
    freedom, note = freedom_of(size_2U[0], size_2U[1], "choices")
    bag_R = _bags(unit_R)
    per_token = counts_2R.sum() / max(int(read.tokens.sum()), 1)
    compared = partial(_compared, counts_2R, bag_R, freedom=freedom, per_token=per_token)
    tables = {}
    if len(set(domain_R)) > 1:
        tables["domains"] = compared(domain_R, name="domain")
    tables["words"] = compared(rows.text.to_numpy(), name="text")
    tables["words"]["text"] = tables["words"].text.map(token_mark)
    size = {"n_documents": len(read), "n_tokens": int(read.tokens.sum())}
    return Found(with_q(tables), size, note)


def _bags(unit_R: np.ndarray) -> np.ndarray:
    units, place_R = np.unique(unit_R, return_inverse=True)
    return (np.random.default_rng(0).permutation(len(units)) % BAGS)[place_R]


def _compared(
    counts_2R: np.ndarray,
    bag_R: np.ndarray,
    item_R: np.ndarray,
    *,
    freedom: float,
    per_token: float,
    name: str,
) -> pd.DataFrame:
    """Items that are frequent enough, with what is known of each. A token's choices are one piece
    of evidence: how many there are of an item counts in tokens."""
    place_R, items = pd.factorize(item_R)
    kept_I = np.flatnonzero(np.bincount(place_R, counts_2R.sum(0)) >= MIN_POINTS * per_token)
    counts_2BI = np.zeros((2, BAGS, len(items)))
    for part, counts_R in enumerate(counts_2R):
        np.add.at(counts_2BI[part], (bag_R, place_R), counts_R)
    kept_2BI = counts_2BI[..., kept_I]
    tokens_2BI = np.ceil(kept_2BI / per_token)
    table = over_represented(kept_2BI, counts_2BI.sum(-1), freedom, points_2BI=tokens_2BI)
    table.insert(0, name, np.asarray(items, object)[kept_I])
    return table.drop(columns="points").assign(choices=kept_2BI[0].sum(0).astype(int))
