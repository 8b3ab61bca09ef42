"""Models against one another: bits per byte, what masking and fewer experts do to the loss."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.groups import NOT_ENOUGH, in_words
from app.views.shared.theme import Palette, annotate, column_text, frame, literal

ROW = 27  # pixels
COLORS = {"GShard": "#d9802e", "GShard ×1.5": "#a0522d"}  # else the accent


def difference_rows(table: pd.DataFrame, palette: Palette, *, reference: str) -> go.Figure:
    """One row per model: bits per byte minus the reference's. Dot and bar: mean of the seeds, 95 %
    interval over groups of texts; band: what seeds alone explain. Left of 0 is better.

    table: model, bits, lowest, highest, seeds, difference, low, high, spread.
    """
    figure = go.Figure()
    rows = np.arange(len(table))
    spread = float(np.nanmax(table.spread)) if table.spread.notna().any() else 0.0
    band = {"fillcolor": palette.grid, "opacity": 0.6, "line_width": 0, "layer": "below"}
    figure.add_vrect(x0=-2 * spread, x1=2 * spread, **band)
    figure.add_vline(x=0, line={"color": palette.muted, "width": 1, "dash": "dot"})
    ends = [(low, high, None) for low, high in zip(table.low, table.high, strict=True)]
    figure.add_scatter(
        x=[end for segment in ends for end in segment],
        y=np.repeat(rows, 3),
        mode="lines+markers",
        marker={"opacity": 0, "size": 7},  # the range of the axis then leaves room for the ends
        line={"color": palette.neutral, "width": 7},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=table.difference,
        y=rows,
        mode="markers",
        marker=_dot(palette),
        text=[_hover(row, reference) for row in table.itertuples()],
        hovertemplate="%{text}<extra></extra>",
    )
    frame(figure, palette, height=80 + ROW * len(table))
    figure.update_layout(margin={"r": 76})
    bits = enumerate(table.bits)
    annotate(figure, (column_text(row, f"{of:.4f}", place=70) for row, of in bits))
    figure.update_xaxes(title_text=f"bits per byte minus {reference}'s (left is better)")
    return _named_rows(figure, list(table.model))


def _hover(row: Any, reference: str) -> str:
    seeds = f"{row.seeds} seeds, {row.lowest:.4f} to {row.highest:.4f}"
    lines = [
        f"<b>{literal(row.model)}</b>: {row.bits:.4f} bits per byte",
        seeds if row.seeds > 1 else "one seed",
        f"minus {reference}: {row.difference:+.4f} ({_span(row)}); equal: 0",
        _size(row),
    ]
    return "<br>".join(lines)


def change_lines(table: pd.DataFrame, palette: Palette, *, title: str, percent: bool) -> go.Figure:
    """One line per model. table: model, x, bits, change, low, high, n."""
    figure = go.Figure()
    form = ".1%" if percent else ".0f"
    for model, rows in table.groupby("model", sort=False):
        color = COLORS.get(str(model), palette.accent)
        figure.add_scatter(
            x=rows.x,
            y=rows.bits,
            mode="lines+markers",
            name=literal(str(model)),
            line={"color": color, "width": 2},
            marker={"size": 8},
            text=[_changed(row, f"{row.x:{form}}") for row in rows.itertuples()],
            hovertemplate="%{text}<extra></extra>",
        )
    frame(figure, palette, height=320, legend=True)
    figure.update_xaxes(title_text=title, tickformat=".0%" if percent else "")
    figure.update_yaxes(title_text="bits per byte")
    return figure


def _changed(row: Any, at: str) -> str:
    return (
        f"<b>{literal(row.model)}</b>, {at}: {row.bits:.3f} bits per byte<br>"
        f"{row.change:+.4f} ({_span(row)}); unchanged: 0<br>{_size(row)}"
    )


def diagnostic_rows(table: pd.DataFrame, palette: Palette, *, percent: bool) -> go.Figure:
    """One row per model: dot and interval, a tick for balance or chance, the article's value
    dotted.

    table: model, estimate, low, high, null, article.
    """
    figure = go.Figure()
    rows = np.arange(len(table))
    form = ".1%" if percent else ".2f"
    ends = [(low, high, None) for low, high in zip(table.low, table.high, strict=True)]
    figure.add_scatter(
        x=[None if pd.isna(end) else float(end) for segment in ends for end in segment],
        y=np.repeat(rows, 3),
        mode="lines",
        line={"color": palette.neutral, "width": 8},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=table["null"].astype(float),
        y=rows,
        mode="markers",
        marker={"symbol": "line-ns", "size": 15, "line": {"width": 2, "color": palette.muted}},
        hovertemplate=f"balance or chance: %{{x:{form}}}<extra></extra>",
    )
    figure.add_scatter(
        x=table.estimate.astype(float),
        y=rows,
        mode="markers",
        marker=_dot(palette),
        text=[_interval_text(row, form) for row in table.itertuples()],
        hovertemplate="%{text}<extra></extra>",
    )
    article = float(table.article.iloc[0])
    figure.add_vline(x=article, line={"color": palette.muted, "width": 1.5, "dash": "dot"})
    frame(figure, palette, height=70 + 34 * len(table))
    figure.update_layout(margin={"r": 62})
    texts = ["" if pd.isna(estimate) else f"{estimate:{form}}" for estimate in table.estimate]
    annotate(figure, (column_text(row, text, place=56) for row, text in enumerate(texts)))
    figure.update_xaxes(rangemode="tozero", tickformat=".0%" if percent else "", nticks=3)
    return _named_rows(figure, list(table.model))


def _interval_text(row: Any, form: str) -> str:
    if pd.isna(row.estimate):
        return f"{literal(row.model)}: {row.note}"
    span = "no interval" if pd.isna(row.low) else f"{row.low:{form}} to {row.high:{form}}"
    n_groups = (
        row.n_documents if pd.isna(row.n_groups) else int(row.n_groups)
    )  # of an earlier version
    size = in_words(row.n_documents, n_groups)
    return f"<b>{literal(row.model)}</b>: {row.estimate:{form}} ({span})<br>{size}"


def _span(row: Any) -> str:
    return NOT_ENOUGH if pd.isna(row.low) else f"{row.low:+.4f} to {row.high:+.4f}"


def _size(row: Any) -> str:
    return in_words(row.n, getattr(row, "n_groups", row.n))


def _dot(palette: Palette) -> dict[str, Any]:
    return {"size": 11, "color": palette.accent, "line": {"width": 1.5, "color": palette.ground}}


def _named_rows(figure: go.Figure, names: list[str]) -> go.Figure:
    """Rows from the top, each with its name."""
    return figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[literal(name) for name in names],
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
    )
