"""How many experts a token runs, on the pages. Nothing where every token runs as many."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis import experts_per_token, queries
from analysis.domain_counts import ALL_LAYERS
from analysis.significance import MAX_Q
from app import evidence
from app.trace import Trace
from app.views.load_balance.experts_figures import MEAN_K, k_ridges, mean_k_heatmap
from app.views.shared import controls
from app.views.shared.intervals import probability

ALL = "all layers"


def show(trace: Trace) -> None:
    least, most = trace.k_range
    if least == most:
        return
    st.subheader("Experts per token", anchor=False)
    with st.spinner(evidence.WAIT):
        table = evidence.mean_k(trace)
    layers = [ALL, *map(str, trace.layers)]
    chosen = st.selectbox("MoE layer", layers, key="k_layer", bind="query-params", width=200)
    with trace.cursor() as con:
        tokens = queries.domain_k(con)
    layer_id = ALL_LAYERS
    if chosen != ALL:
        layer_id = int(chosen)
        tokens = tokens[tokens.layer_id == layer_id]
    means = table[table.layer_id == layer_id]
    controls.answer(sentence(means, tokens.k))
    controls.chart(
        k_ridges(experts_per_token.k_histogram(tokens), means, controls.palette()),
        alt=f"Histograms: experts that a token runs, by domain, {chosen}",
        key="k_by_domain",
    )
    controls.note(
        "How many of a domain's tokens run so many experts (height: square root of the share, the "
        "same in every domain). Line: the mean, beside it where 95 % of other samples of as many "
        "texts would put it."
    )
    controls.chart(
        mean_k_heatmap(table, controls.palette()),
        alt="Heatmap: mean number of experts that a token runs, by domain and layer",
        key="mean_k",
    )
    controls.note(f"The means by layer. Dot: unlike the other domains, q < {MAX_Q}.")
    controls.download(table, name="experts_per_token", trace=trace.name)


def sentence(means: pd.DataFrame, k: pd.Series) -> str:
    """Of one layer of a mean_k_table, or of ALL_LAYERS; k: every value that occurs there."""
    layer_id, overall = means.layer_id.iloc[0], MEAN_K.text(means.null.iloc[0])
    who = "A token" if layer_id == ALL_LAYERS else f"In layer {layer_id}, a token"
    text = f"{who} runs {overall} experts on average, from {k.min()} to {k.max()}."
    if len(means) == 1:
        return text
    ordered = means.sort_values("estimate", ascending=False)
    first, last = ordered.iloc[0], ordered.iloc[-1]
    known = f"{first.domain} runs most: {_told(first)}; {last.domain} fewest: {_told(last)}"
    if pd.isna(first.q):
        return f"{text} As counted, {known}."
    if first.q < MAX_Q:
        return f"{text} Of the domains, {known}."
    return f"{text} As counted, {known}. The luck of which texts were read explains as much."


def _told(row: pd.Series) -> str:
    known = [MEAN_K.span(row.low, row.high), "" if pd.isna(row.q) else f"q {probability(row.q)}"]
    in_brackets = ", ".join(part for part in known if part)
    return MEAN_K.text(row.estimate) + (f" ({in_brackets})" if in_brackets else "")


def of_text(routing: pd.DataFrame) -> np.ndarray | None:
    """k_TL of a document_routing(), tokens in order; None where it is the same everywhere."""
    ran = (~routing.dropped).groupby([routing.position, routing.layer_id]).sum()
    k_TL = ran.unstack("layer_id", fill_value=0).to_numpy()
    return None if (k_TL == k_TL[0, 0]).all() else k_TL
