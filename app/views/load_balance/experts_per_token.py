"""How many experts a token runs, where that varies."""

import numpy as np
import pandas as pd

from analysis import experts_per_token, queries
from analysis.domain_counts import ALL_LAYERS
from analysis.significance import MAX_Q
from app import evidence
from app.trace import Trace
from app.views.load_balance.experts_figures import MEAN_K, k_ridges, mean_k_heatmap
from app.views.shared.intervals import probability
from app.views.shared.layer_names import NUMBERED, LayerNames, names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette
from data.routing import NO_EXPERT


def panels(trace: Trace, palette: Palette, *, layer_id: int = ALL_LAYERS) -> list[Panel]:
    """Of one layer the histograms, of all the means; none where every token runs equally many."""
    if not trace.k_varies:
        return []
    table, names = evidence.mean_k(trace), names_of(trace)
    with trace.cursor() as con:
        tokens = queries.domain_k(con)
    if layer_id != ALL_LAYERS:
        tokens = tokens[tokens.layer_id == layer_id]
    return [
        _histograms(tokens, table[table.layer_id == layer_id], palette, names),
        Panel(
            name="experts_per_token",
            table=table,
            figure=mean_k_heatmap(table, palette, names=names),
            alt="Heatmap: mean number of experts per token, by domain and layer",
            note=f"Means by layer. Dot: the domain differs from the others, q < {MAX_Q}.",
        ),
    ]


def _histograms(
    tokens: pd.DataFrame, means: pd.DataFrame, palette: Palette, names: LayerNames
) -> Panel:
    layer_id = means.layer_id.iloc[0]
    where = "all layers" if layer_id == ALL_LAYERS else names[layer_id]
    histogram = experts_per_token.k_histogram(tokens)
    return Panel(
        name="tokens_by_k",
        table=histogram,
        answer=mean_k_answer(means, tokens.k, names),
        figure=k_ridges(histogram, means, palette),
        alt=f"Histograms: number of experts per token, by domain, {where}",
        note=(
            "How the number of experts per token is distributed in each domain (height: square "
            "root of the share of tokens, on one scale for all domains). Line: the mean. Right: "
            "the mean and its 95 % interval over groups of texts."
        ),
    )


def mean_k_answer(means: pd.DataFrame, k: pd.Series, names: LayerNames = NUMBERED) -> str:
    """Of one layer of a mean_k_table, or of ALL_LAYERS; k: every value that occurs there."""
    layer_id, overall = means.layer_id.iloc[0], MEAN_K.text(means.null.iloc[0])
    token = "A token" if layer_id == ALL_LAYERS else f"In {names[layer_id]}, a token"
    text = f"{token} runs {overall} experts on average, between {k.min()} and {k.max()}."
    if len(means) == 1:
        return text
    ordered = means.sort_values("estimate", ascending=False)
    first, last = ordered.iloc[0], ordered.iloc[-1]
    extremes = (
        f"{first.domain} runs the most, {_mean_text(first)}, and {last.domain} the fewest, "
        f"{_mean_text(last)}"
    )
    if pd.isna(first.q):
        return f"{text} By the counts alone, {extremes}."
    if first.q < MAX_Q:
        return f"{text} Of the domains, {extremes}."
    return (
        f"{text} By the counts alone, {extremes}, but a difference this large can come from the "
        "choice of texts."
    )


def _mean_text(row: pd.Series) -> str:
    parts = [MEAN_K.span(row.low, row.high), "" if pd.isna(row.q) else f"q {probability(row.q)}"]
    in_brackets = ", ".join(part for part in parts if part)
    return MEAN_K.text(row.estimate) + (f" ({in_brackets})" if in_brackets else "")


def of_text(routing: pd.DataFrame) -> np.ndarray | None:
    """k_TL of a document_routing(), tokens in order; None where it is that of the layer alone."""
    ran = (
        (~routing.dropped & (routing.expert_id != NO_EXPERT))
        .groupby([routing.position, routing.layer_id])
        .sum()
    )
    k_TL = ran.unstack("layer_id", fill_value=0).to_numpy()
    return None if (k_TL == k_TL[0]).all() else k_TL
