"""How many experts a token runs, where that varies.

L = MoE layers, G = domains, T = tokens.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.domain_counts import ALL_LAYERS
from analysis.groups import in_words
from analysis.significance import MAX_Q
from app.views.shared.heatmap import cell_heatmap, dot_cells, span_axis
from app.views.shared.intervals import Measure, probability
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import (
    Palette,
    annotate,
    column_text,
    domain_colors,
    frame,
    label,
    literal,
)
from data.words import counted

MEAN_K = Measure("experts per token", ".1f")
RIDGE, CELL, TOP = 52, 38, 34  # pixels: of a domain's rows, and above the first
LIFTED = 0.4  # a ridge stands so far below the middle of its row, of its height
BARS = 110  # pixels, above the tokens of a text
NUMBERS = 20  # layers: so many cells in a row can be read


def k_ridges(histogram: pd.DataFrame, means: pd.DataFrame, palette: Palette) -> go.Figure:
    """One row per domain: its k_histogram as square roots, its mean with interval, and that of all
    texts. `means`: the rows of one layer of a mean_k_table."""
    domains = means.domain.tolist()
    colors = domain_colors(domains, palette)
    figure = go.Figure()
    counted = "tokens × layers" if means.layer_id.iloc[0] == ALL_LAYERS else "tokens"
    for row, domain in enumerate(domains):
        bins = histogram[histogram.domain == domain]
        figure.add_bar(
            x=(bins.first_k + bins.last_k) / 2,
            y=-0.84 * np.sqrt(bins.share / histogram.share.max()),  # many may run the fewest
            base=row + LIFTED,
            width=bins.last_k - bins.first_k + 1,
            marker={"color": colors[domain], "line": {"width": 1, "color": palette.ground}},
            customdata=[_bin_text(domain, rows, counted) for rows in bins.itertuples()],
            hovertemplate="%{customdata}<extra></extra>",
        )
    _means(figure, means, palette)
    frame(figure, palette, height=RIDGE * len(domains) + TOP + 60)
    figure.update_layout(barmode="overlay", bargap=0, margin={"t": TOP, "r": 130})
    figure.update_xaxes(title_text="experts per token", showgrid=False)
    figure.update_yaxes(
        tickvals=list(range(len(domains))),
        ticktext=[label(domain) for domain in domains],
        range=[len(domains) - 0.5, -0.5],
        showgrid=False,
    )
    return figure


def _means(figure: go.Figure, means: pd.DataFrame, palette: Palette) -> None:
    overall = float(means.null.iloc[0])
    figure.add_vline(x=overall, line={"width": 1, "dash": "dot", "color": palette.muted})
    figure.add_annotation(
        text=f"all texts {MEAN_K.text(overall)}",
        x=overall,
        y=1,
        yref="paper",
        yanchor="bottom",
        showarrow=False,
        font={"color": palette.muted, "size": 12},
    )
    written = []
    for row, mean in enumerate(means.to_dict("records")):
        figure.add_scatter(
            x=[mean["estimate"]] * 2,
            y=[row - LIFTED, row + LIFTED],
            mode="lines",
            line={"width": 2, "color": palette.text},
            hoverinfo="skip",
        )
        span = MEAN_K.span(mean["low"], mean["high"])
        written += [
            column_text(row, f"<b>{MEAN_K.text(mean['estimate'])}</b>", place=44),
            column_text(row, span, place=126, color=palette.muted),
        ]
    head = column_text(-0.5, "mean", place=44, color=palette.muted, above=True)
    annotate(figure, [*written, head])


def _bin_text(domain: str, row: Any, counted: str) -> str:
    values = str(row.first_k) if row.first_k == row.last_k else f"{row.first_k} to {row.last_k}"
    noun = "expert" if values == "1" else "experts"
    return f"{literal(domain)}, {values} {noun}<br><b>{row.share:.1%}</b>, {row.tokens:,} {counted}"


def mean_k_heatmap(
    table: pd.DataFrame, palette: Palette, *, names: LayerNames = NUMBERED
) -> go.Figure:
    """Domains by layers of a mean_k_table; a dot where a domain differs from the rest."""
    rows = table[table.layer_id != ALL_LAYERS]
    domains, num_layers = rows.domain.unique(), rows.layer_id.nunique()

    def grid(values: Sequence[Any]) -> np.ndarray:
        return np.array(values).reshape(num_layers, len(domains)).T

    figure = cell_heatmap(
        grid(rows.estimate.to_list()),
        palette,
        rows=[label(domain) for domain in domains],
        columns=[literal(names.choice(layer)) for layer in range(num_layers)],
        hover_RC=grid([mean_text(row, names) for row in rows.itertuples()]),
        coloraxis=span_axis(
            palette, low=rows.estimate.min(), high=rows.estimate.max(), title="experts"
        ),
        height=CELL * len(domains) + 70,
    )
    if num_layers <= NUMBERS:
        form = ".1f" if rows.estimate.max() < 100 else ".0f"
        shown = grid([f"{value:{form}}" for value in rows.estimate])
        figure.data[0].update(text=shown, texttemplate="%{text}", textfont={"size": 12})
    dot_cells(figure, grid((rows.q < MAX_Q).fillna(False).to_list()), palette)
    figure.data[-1].y = figure.data[-1].y + 0.3  # below the number
    return figure.update_xaxes(title_text="MoE layer")


def mean_text(cell: Any, names: LayerNames = NUMBERED) -> str:
    """All that is known of a cell, one line per fact."""
    span = MEAN_K.span(cell.low, cell.high)
    lines = [
        f"{names.hover(cell.layer_id)}, {literal(cell.domain)}",
        f"<b>{MEAN_K.text(cell.estimate)}</b>{span and f' ({span})'}, all texts "
        f"{MEAN_K.text(cell.null)}",
    ]
    if pd.notna(cell.p):
        lines.append(f"p {probability(cell.p)}, q {probability(cell.q)}")
    tokens = counted(cell.n_tokens, "token", "tokens")
    lines.append(f"{in_words(cell.n_documents, cell.n_groups)}, {tokens}")
    return "<br>".join([*lines, f"<i>{cell.note}</i>"] if cell.note else lines)


def add_k(
    figure: go.Figure,
    k_TL: np.ndarray,
    palette: Palette,
    *,
    tokens: Sequence[str],
    layer_id: int,
    names: LayerNames = NUMBERED,
) -> None:
    """Above a token_heatmap, one bar per token: its experts in one layer; line: the mean of all
    layers."""
    mean_T = k_TL.mean(-1)
    figure.add_bar(
        x=np.arange(len(k_TL)),
        y=k_TL[:, layer_id],
        yaxis="y2",
        marker={"color": palette.accent, "opacity": 0.55, "line": {"width": 0}},
        customdata=[
            f"<b>{literal(token)}</b><br>{names.hover(layer_id)}: {k_L[layer_id]} experts, "
            f"over layers {MEAN_K.text(mean)} ({k_L.min()} to {k_L.max()})"
            for token, k_L, mean in zip(tokens, k_TL, mean_T, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure.add_scatter(
        x=np.arange(len(k_TL)),
        y=mean_T,
        yaxis="y2",
        mode="lines",
        line={"width": 2, "color": palette.text, "shape": "hvh"},
        hoverinfo="skip",
    )
    height = figure.layout.height
    share = height / (height + BARS)
    axis = figure.layout.yaxis
    figure.update_layout(
        height=height + BARS,
        bargap=0.15,
        yaxis={"domain": [0, share - 0.03]},
        yaxis2={
            **{name: axis[name] for name in ("gridcolor", "linecolor", "automargin")},
            "domain": [share, 1],
            "anchor": "x",
            "rangemode": "tozero",
            "nticks": 4,
            "zeroline": False,
            "fixedrange": True,
            "title": {"text": "experts", "font": axis.title.font, "standoff": 10},
        },
    )
