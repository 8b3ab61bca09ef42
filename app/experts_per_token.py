"""How many experts a token runs, on the pages. Nothing where every token runs as many."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis import experts_per_token, queries
from analysis.domain_counts import ALL_LAYERS
from analysis.queries import TraceInfo
from analysis.significance import MAX_Q
from app import controls, evidence, workspace
from app.figures.experts_per_token import MEAN_K, k_ridges, mean_k_heatmap
from app.figures.intervals import probability
from app.workspace import TraceFile

ALL = "all layers"


def show(trace: TraceFile, info: TraceInfo) -> None:
    if (span := evidence.k_range(trace, info)) is None:
        return
    st.subheader("Experts per token", anchor=False)
    with st.spinner(evidence.WAIT):
        table = evidence.mean_k(trace, info)
    layers = [ALL, *map(str, range(info.num_layers))]
    chosen = st.selectbox("MoE layer", layers, key="k_layer", bind="query-params", width=200)
    with workspace.cursor(trace) as con:
        tokens = queries.domain_k(con)
    layer_id = ALL_LAYERS
    if chosen != ALL:
        layer_id = int(chosen)
        tokens = tokens[tokens.layer_id == layer_id]
    means = table[table.layer_id == layer_id]
    controls.answer(sentence(means, span))
    left, right = st.columns([3, 2], gap="large")
    with left:
        histogram = experts_per_token.k_histogram(tokens)
        controls.show(
            k_ridges(histogram, means, controls.palette()),
            alt=f"Histograms: experts that a token runs, by domain, {chosen}",
            key="k_by_domain",
        )
    with right:
        controls.show(
            mean_k_heatmap(table, controls.palette()),
            alt="Heatmap: mean number of experts that a token runs, by domain and layer",
            key="mean_k",
        )
    controls.note(
        "Left: of a domain's tokens, the share that runs so many experts, all domains to one "
        "scale; line: the mean, beside it the range in which 95 % of other samples of as many "
        f"texts would put it. Right: the means. Dot: differs from the other domains, q < {MAX_Q}."
    )
    controls.download(table, name="experts_per_token", trace=trace.name)


def sentence(means: pd.DataFrame, span: tuple[int, int]) -> str:
    """Of one layer of a mean_k_table; span: the fewest and the most experts of a token."""
    overall = MEAN_K.text(means.null.iloc[0])
    text = f"A token runs {overall} experts on average, from {span[0]} to {span[1]}."
    if len(means) == 1:
        return text
    most, least = (
        means.iloc[int(end)] for end in (means.estimate.argmax(), means.estimate.argmin())
    )
    surely = pd.notna(most.q) and most.q < MAX_Q
    return (
        f"{text} {'Of the domains' if surely else 'As counted'}, {most.domain} runs most, "
        f"{_told(most)}, {least.domain} fewest, {_told(least)}"
        + (
            "."
            if surely or pd.isna(most.q)
            else ": not more than the luck of which texts were read explains."
        )
    )


def _told(row: pd.Series) -> str:
    known = [MEAN_K.span(row.low, row.high), "" if pd.isna(row.q) else f"q {probability(row.q)}"]
    in_brackets = ", ".join(part for part in known if part)
    return MEAN_K.text(row.estimate) + (f" ({in_brackets})" if in_brackets else "")


def of_text(routing: pd.DataFrame) -> np.ndarray | None:
    """k_TL of a document_routing(), tokens in order; None where it is the same everywhere."""
    ran = (~routing.dropped).groupby([routing.position, routing.layer_id]).sum()
    k_TL = ran.unstack("layer_id", fill_value=0).to_numpy()
    return None if (k_TL == k_TL[0, 0]).all() else k_TL
