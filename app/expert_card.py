"""Everything about one expert: how busy, for which domains, on which tokens."""

from html import escape
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis import queries, specialization
from analysis.queries import TraceInfo
from app import controls, workspace
from app.figures.specialization import lift_bars
from app.figures.theme import domain_colors, visible
from app.workspace import TraceFile

CONTEXTS = 8


def show(
    trace: TraceFile, info: TraceInfo, tokens_EG: np.ndarray, *, layer_id: int, expert_id: int
) -> None:
    """tokens_EG: choices of that layer by expert and domain."""
    tokens_E = tokens_EG.sum(-1)
    st.subheader(f"Expert {expert_id} of layer {layer_id}", anchor="expert")
    if not tokens_E[expert_id]:
        st.info("No token of this trace chose this expert.")
        return
    lift_EG = specialization.domain_lift(tokens_EG[None])[0]
    divergence = specialization.jensen_shannon(tokens_EG[None])[0, expert_id]
    best = int(np.nanargmax(lift_EG[expert_id]))
    controls.headline(
        [
            ("Load", f"{tokens_E[expert_id] / tokens_E.mean():.2f}×", "balanced 1×"),
            ("Choices", f"{tokens_E[expert_id]:,}", f"balanced {tokens_E.mean():,.0f}"),
            ("Strongest domain", info.domains[best], f"{lift_EG[expert_id, best]:.2f}× chance"),
            ("Divergence from corpus", f"{divergence:.3f} bits", "no preference 0, most 1"),
        ]
    )
    with workspace.cursor(trace) as con:
        tokens = queries.expert_top_tokens(con, layer_id, expert_id, limit=40)
        contexts = queries.expert_contexts(con, layer_id, expert_id, limit=CONTEXTS)
    left, middle, right = st.columns([4, 4, 7], gap="large")
    with left:
        st.markdown("**Chosen for domains**")
        bars = lift_bars(lift_EG[expert_id], info.domains, controls.palette())
        controls.show(bars, alt="Bars: lift of each domain for this expert", key="expert_lift")
    with middle:
        st.markdown("**Chosen for tokens**")
        _tokens(tokens, name=f"layer_{layer_id}_expert_{expert_id}_tokens", trace=trace.name)
    with right:
        st.markdown("**Where it weighs most**")
        _contexts(contexts)
        name = f"layer_{layer_id}_expert_{expert_id}_contexts"
        controls.download(contexts, name=name, trace=trace.name)


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
    return (
        f'<p class="rs-context"><span>{mark}<small>{row.weight:.2f}</small></span>'
        f'<span>{before}<b style="background:{color}44">{token}</b>{after}</span></p>'
    )
