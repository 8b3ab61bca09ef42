"""Experts of a range of loads: which they are, and what is over-represented among their choices.

L = MoE layers, E = routed experts.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from analysis import expert_words, word_rows
from analysis.arrays import MAX_TOKENS
from analysis.brush import Brush, with_q
from app import stored
from app.trace import BY_IDENTITY, Trace
from app.views.load_balance.figures import load_histogram
from app.views.shared import controls, needs, over_represented
from app.views.shared.drawing import draw
from app.views.shared.over_represented import LISTED, Found
from app.views.shared.panel import Panel
from app.views.shared.sampled import sampled
from app.views.shared.theme import token_mark

KEY, CHART = "loads", "loads_spread"  # of the range, in the link too; of the histogram
STEP = 0.05
CHOICES = 10_000_000  # that are read
WIDTHS = (3, 4, 4)  # of the tables
READING = over_represented.reading(
    "among the choices of these experts", "among the choices of all others"
)


def draw_load_range(trace: Trace, domain: str | None) -> None:
    """A histogram of loads, of which a part can be drawn around, or set by a slider. `domain`: in
    its texts; None: in all."""
    load_LE = loads(trace, domain)
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
        _draw_experts(trace, rows, inside_LE, domain)


def loads(trace: Trace, domain: str | None = None) -> np.ndarray:
    """Of every expert, over the mean of its layer [L, E]; NaN where there is none."""
    tokens_LE = stored.expert_tokens(trace, domain).astype(float)
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


def _draw_experts(
    trace: Trace, rows: pd.DataFrame, inside_LE: np.ndarray, domain: str | None
) -> None:
    panels = [
        Panel(name="experts_in_range", title="Experts", table=rows, preview=rows.head(LISTED))
    ]
    note = ""
    if not trace.info.counts_only and needs.has_token_ids(trace):
        found, read = chosen_by(trace, inside_LE, domain)
        panels += over_represented.panels(found)
        note = f"{found.note} {READING}{read}".strip() if found.tables else ""
    for column, panel in zip(st.columns(WIDTHS[: len(panels)], gap="medium"), panels, strict=True):
        with column:
            draw(panel, subject=trace)
    if note:
        controls.note(note)


def chosen_by(trace: Trace, inside_LE: np.ndarray, domain: str | None = None) -> tuple[Found, str]:
    """Domains and words of their choices, and which texts were read, if not all."""
    return _chosen_by(trace, np.packbits(inside_LE).tobytes(), inside_LE.shape, domain)


@st.cache_data(max_entries=16, show_spinner="Reading their choices", hash_funcs=BY_IDENTITY)
def _chosen_by(
    trace: Trace, packed: bytes, shape: tuple[int, int], domain: str | None
) -> tuple[Found, str]:
    inside_LE = np.unpackbits(np.frombuffer(packed, np.uint8), count=shape[0] * shape[1])
    layer, expert = np.nonzero(inside_LE.reshape(shape))
    most = max(1, CHOICES // max(1, trace.info.num_layers * max(trace.k_range[1], 1)))
    every = stored.documents(trace).set_index("doc_id")
    every = every if domain is None else every[every.domain == domain]
    with trace.cursor() as con:
        drawn = expert_words.document_sample(con, tokens=min(MAX_TOKENS, most)).doc_id
        read = every[every.index.isin(drawn)]
        rows = word_rows.range_words(
            con, doc_ids=read.index.tolist(), layer_ids=layer, expert_ids=expert
        )
    sizes = {"n_documents": len(read), "n_tokens": int(read.tokens.sum())}
    of = replace(trace.info, num_documents=len(every), num_tokens=int(every.tokens.sum()))
    return _compared(rows, read, sizes["n_tokens"]), sampled(of, sizes)


def _compared(rows: pd.DataFrame, documents: pd.DataFrame, num_tokens: int) -> Found:
    """Of rows of range_words()."""
    if rows.empty:
        return Found({}, "")
    domain = documents.domain.loc[rows.doc_id].astype("category")
    choices = rows.choices.to_numpy()
    brush = Brush.of(
        rows.inside.to_numpy(),
        documents.unit.loc[rows.doc_id].to_numpy(),
        what="choices",
        weight_P=choices,
        points_P=choices * num_tokens / choices.sum(),  # a token's are one piece of evidence
    )
    words = brush.by_name(rows.text.astype("category"), "text")
    tables = {"words": words.assign(text=words.text.map(token_mark))}
    if domain.nunique() > 1:
        tables = {"domains": brush.by_name(domain, "domain")} | tables
    tables = {name: table.rename(columns={"points": "choices"}) for name, table in tables.items()}
    return Found(with_q(tables), brush.note)
