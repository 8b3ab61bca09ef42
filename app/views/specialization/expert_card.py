"""Everything about one expert: how busy, for which domains, on which tokens."""

from html import escape
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis import queries, specialization
from app import evidence
from app.trace import Trace
from app.views.shared import controls
from app.views.shared.intervals import MEASURES, RATIO, probability
from app.views.shared.theme import domain_colors, visible
from app.views.specialization import specialists
from app.views.specialization.figures import lift_bars

CONTEXTS = 8


def show(
    trace: Trace,
    rows: pd.DataFrame,
    tokens_E: np.ndarray,
    metrics: pd.DataFrame,
    causes: pd.DataFrame | None,
    *,
    expert_id: int,
) -> None:
    """rows and tokens_E: the lift_table and the choices of one layer; causes: as stored."""
    layer_id = int(rows.layer_id.iloc[0])
    st.subheader(f"Expert {expert_id} of layer {layer_id}", anchor="expert")
    if not tokens_E[expert_id]:
        st.info("No token of this trace chose this expert.")
        return
    own = rows[rows.expert_id == expert_id].reset_index(drop=True)
    compared = own.estimate.notna().any()
    loads = evidence.expert_loads(trace)
    cell = loads[(loads.layer_id == layer_id) & (loads.expert_id == expert_id)].iloc[0]
    load = [
        ("Load", *_load(cell)),
        ("Choices", f"{tokens_E[expert_id]:,}", f"balanced {tokens_E.mean():,.0f}"),
    ]
    controls.headline([*load, *(_preference(rows, own, metrics) if compared else [])])
    if compared:
        controls.note(specialists.left_out(causes, layer_id=layer_id, expert_id=expert_id))
    with trace.cursor() as con:
        tokens = queries.expert_top_tokens(con, layer_id, expert_id, limit=40)
        contexts = queries.expert_contexts(con, layer_id, expert_id, limit=CONTEXTS)
    left, middle, right = st.columns([5, 4, 6], gap="large")
    with left:
        st.markdown("**Chosen for domains**")
        if compared:
            bars = lift_bars(own, controls.palette())
            controls.chart(bars, alt="Bars: lift of each domain for this expert", key="expert_lift")
        else:
            controls.note("One domain: nothing to compare.")
    with middle:
        st.markdown("**Chosen for tokens**")
        _tokens(tokens, name=f"layer_{layer_id}_expert_{expert_id}_tokens", trace=trace.name)
    with right:
        weighed = contexts.weight.notna().all()
        st.markdown("**Where it weighs most**" if weighed else "**Where it is chosen**")
        _contexts(contexts)
        name = f"layer_{layer_id}_expert_{expert_id}_contexts"
        controls.download(contexts, name=name, trace=trace.name)


def _load(cell: pd.Series) -> tuple[str, str]:
    """Over the balanced load, and what to compare it with."""
    span = "" if pd.isna(cell.low) else f"{RATIO.span(2**cell.low, 2**cell.high)}, "
    test = "" if pd.isna(cell.q) else f", q {probability(cell.q)}"
    return RATIO.text(2**cell.estimate), f"{span}balanced 1×{test}"


def _preference(
    rows: pd.DataFrame, own: pd.DataFrame, metrics: pd.DataFrame
) -> list[tuple[str, str, str]]:
    """Headline of the domain of highest lift, and of the divergence from all texts."""
    best = own.iloc[int(own.estimate.argmax())]
    known = [RATIO.text(2**best.estimate)]
    if not pd.isna(best.low):
        known[0] += f" ({RATIO.span(2**best.low, 2**best.high)})"
    if not pd.isna(best.q):
        known.append(f"q {probability(best.q)}")
    tokens_EG = rows.n_tokens.to_numpy().reshape(-1, len(own))
    divergence = specialization.jensen_shannon(tokens_EG[None])[0, best.expert_id]
    measure = MEASURES["mean_divergence"]
    chance = metrics[(metrics.layer_id == best.layer_id) & (metrics.metric == "mean_divergence")]
    return [
        ("Strongest domain", controls.unmarked(best.domain), ", ".join([*known, "by chance 1×"])),
        (
            "Divergence from all texts",
            measure.text(float(divergence)),
            f"shuffled labels {measure.text(float(chance.null.iloc[0]))}, most 1",
        ),
    ]


def _tokens(tokens: pd.DataFrame, *, name: str, trace: str) -> None:
    shown = tokens.assign(text=[visible(text) for text in tokens.text])
    st.dataframe(
        shown[["text", "tokens", "share_of_token"]],
        hide_index=True,
        height=300,
        column_config={
            "text": st.column_config.TextColumn("token"),
            "tokens": st.column_config.NumberColumn("choices", format="localized"),
            "share_of_token": st.column_config.NumberColumn("of its uses", format="percent"),
        },
        alt="Tokens that chose this expert most above its load",
    )
    controls.download(tokens, name=name, trace=trace)


def _contexts(contexts: pd.DataFrame) -> None:
    colors = domain_colors(list(contexts.domain.unique()), controls.palette())
    st.html("".join(_context(row, colors[str(row.domain)]) for row in contexts.itertuples()))


def _context(row: Any, color: str) -> str:
    """One line of HTML: everything from the trace is escaped, colours are our own."""
    before, token, after = (escape(visible(text)) for text in (row.before, row.text, row.after))
    mark = f'<i style="background:{color}" title="{escape(row.domain)}"></i>'
    weight = "" if np.isnan(row.weight) else f"{row.weight:.2f}"
    return (
        f'<p class="rs-context"><span>{mark}<small>{weight}</small></span>'
        f'<span>{before}<b style="background:{color}44">{token}</b>{after}</span></p>'
    )
