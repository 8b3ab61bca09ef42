"""Loads and traffic of GPUs, and maps side by side. L = MoE layers, H = GPUs."""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.views.shared.heatmap import amount_axis, cell_heatmap, ratio_axis
from app.views.shared.intervals import Measure
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, annotate, column_text, frame, literal

LIMIT = 1  # log2: from half to twice the mean load
ROW, TOP = 34, 34  # pixels
MOST_NUMBERS = 12
APART = 0.16  # of a row: what lies between the marks of two maps


def gpu_load_heatmap(
    relative_LH: np.ndarray, palette: Palette, *, names: LayerNames = NUMBERED
) -> go.Figure:
    """Load over the mean of the layer; a layer without tokens is empty."""
    num_layers, num_gpus = relative_LH.shape
    hover = [
        [
            ""
            if np.isnan(load)
            else f"{names.hover(layer)}, GPU {gpu}<br><b>{load:.2f}×</b> the mean"
            for gpu, load in enumerate(load_H)
        ]
        for layer, load_H in enumerate(relative_LH)
    ]
    with np.errstate(divide="ignore"):
        log_LH = np.clip(np.log2(relative_LH), -LIMIT - 1, LIMIT + 1)
    figure = cell_heatmap(
        log_LH,
        palette,
        rows=names.labels(num_layers),
        columns=[str(gpu) for gpu in range(num_gpus)],
        hover_RC=np.array(hover),
        coloraxis=ratio_axis(palette, limit=LIMIT, title="load"),
        height=max(220, 30 * num_layers + 70),
    )
    return _numbered(figure, num_gpus).update_xaxes(title_text="GPU")


def traffic_heatmap(
    share_HH: np.ndarray, palette: Palette, *, ends: tuple[float, float], what: str = "GPU"
) -> go.Figure:
    """Share of tokens that both serve; the diagonal, one with itself, stays empty. Colours reach
    from the least to the most."""
    count = len(share_HH)
    apart_HH = np.where(np.eye(count, dtype=bool), np.nan, share_HH)
    hover = [
        [
            f"{what} {row}: serves <b>{share:.1%}</b> of the tokens"
            if row == column
            else f"{what} {row} and {what} {column}: <b>{share:.1%}</b> of the tokens"
            for column, share in enumerate(share_H)
        ]
        for row, share_H in enumerate(share_HH)
    ]
    labels = [str(place) for place in range(count)]
    figure = cell_heatmap(
        apart_HH,
        palette,
        rows=labels,
        columns=labels,
        hover_RC=np.array(hover),
        coloraxis=amount_axis(palette, high=ends[1], title="tokens", tickformat=".0%")
        | {"cmin": min(ends[0], 0.9 * ends[1])},
        height=max(240, 22 * count + 80),
    )
    return _numbered(figure, count).update_xaxes(title_text=what).update_yaxes(title_text=what)


def _numbered(figure: go.Figure, count: int) -> go.Figure:
    """As many numbers below a figure of half the page as there is room for."""
    shown = list(range(0, count, ceil(count / MOST_NUMBERS)))
    return figure.update_xaxes(tickvals=shown, ticktext=list(map(str, shown)), tickangle=0)


def map_intervals(
    rows: pd.DataFrame,
    palette: Palette,
    *,
    measure: Measure,
    series: Mapping[str, str],
    references: Mapping[str, float],
) -> go.Figure:
    """A row a name (column `name`), a mark a map (column `plan`, of those in `series`, by their
    titles; the last one stands out), with its interval; a line where a reference lies."""
    names = list(dict.fromkeys(rows.name))
    place = {name: row for row, name in enumerate(names)}
    figure = go.Figure()
    many = len(series) > 1
    for number, (plan, title) in enumerate(series.items()):
        of = rows[rows.plan == plan] if many else rows
        shift = (number - (len(series) - 1) / 2) * 2 * APART
        at = [place[name] + shift for name in of.name]
        strong = number == len(series) - 1
        _add_marks(figure, of, palette, at, title=title, strong=strong, measure=measure)
    for title, value in references.items():
        figure.add_vline(x=value, line={"width": 1, "dash": "dot", "color": palette.muted})
        figure.add_annotation(
            text=literal(title),
            x=value,
            y=1,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
            font={"color": palette.muted, "size": 12},
        )
    frame(figure, palette, height=(ROW + 12 * many) * len(names) + TOP + 66, legend=False)
    figure.update_layout(margin={"t": TOP, "r": 190})
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[literal(name) for name in names],
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
    )
    ends = rows[["estimate", "low", "high"]].astype(float).to_numpy()
    low, high = (pick([pick(ends), *references.values()]) for pick in (np.nanmin, np.nanmax))
    room = 0.04 * (high - low) or 0.1
    return figure.update_xaxes(title_text=measure.title, range=[low - room, high + room])


def _add_marks(
    figure: go.Figure,
    rows: pd.DataFrame,
    palette: Palette,
    at: Sequence[float],
    *,
    title: str,
    strong: bool,
    measure: Measure,
) -> None:
    color = palette.accent if strong else palette.muted
    spans = rows[["low", "high"]].astype(float).to_numpy()
    ends = [(low, high, None) for low, high in spans.tolist()]
    figure.add_scatter(
        x=[None if end is None or np.isnan(end) else end for segment in ends for end in segment],
        y=np.repeat(at, 3),
        mode="lines",
        line={"color": palette.neutral, "width": 7},
        hoverinfo="skip",
    )
    texts = [measure.text(value) for value in rows.estimate.astype(float)]
    intervals = [measure.span(low, high) for low, high in spans.tolist()]
    figure.add_scatter(
        x=rows.estimate.astype(float),
        y=at,
        mode="markers",
        marker={"size": 10, "color": color, "line": {"width": 1.5, "color": palette.ground}},
        text=[
            f"{literal(name)}, {literal(title)}<br><b>{text}</b>{span and f' ({span})'}"
            for name, text, span in zip(rows.name, texts, intervals, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
    )
    written = []
    for row, text, span in zip(at, texts, intervals, strict=True):
        written += [
            column_text(row, f"<b>{text}</b>" if strong else text, place=60),
            column_text(row, span, place=176, color=palette.muted),
        ]
    annotate(figure, written)


def layer_bars(
    values_L: Sequence[float], palette: Palette, *, title: str, names: LayerNames = NUMBERED
) -> go.Figure:
    figure = go.Figure()
    figure.add_bar(
        x=list(range(len(values_L))),
        y=list(values_L),
        marker={"color": palette.accent, "line": {"width": 0}},
        customdata=[
            f"{names.hover(layer)}<br><b>{value:,}</b>" for layer, value in enumerate(values_L)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    frame(figure, palette, height=280)
    figure.update_xaxes(**names.axis(len(values_L)), showgrid=False)
    return figure.update_yaxes(title_text=title, rangemode="tozero")


def layer_dots(
    table: pd.DataFrame, palette: Palette, *, before: str, names: LayerNames = NUMBERED
) -> go.Figure:
    """The busiest GPU of each layer, under the map `before` and after."""
    figure = go.Figure()
    for name, color, aside in (("before", palette.muted, -0.15), ("after", palette.accent, 0.15)):
        spans = table[[f"{name}_low", f"{name}_high"]].to_numpy(float)
        ends = [(low, high, np.nan) for low, high in spans.tolist()]
        figure.add_scatter(
            x=table.layer_id.repeat(3) + aside,
            y=[None if np.isnan(end) else end for segment in ends for end in segment],
            mode="lines",
            showlegend=False,
            line={"color": palette.neutral, "width": 4 if len(table) > 32 else 8},
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=table.layer_id + aside,
            y=table[name],
            mode="markers",
            name={"before": before, "after": "plan"}[name],
            marker={"size": 8, "color": color, "line": {"width": 1, "color": palette.ground}},
            customdata=[names.hover(layer) for layer in table.layer_id],
            hovertemplate="%{customdata}<br><b>%{y:.2f}×</b><extra>" + name + "</extra>",
        )
    frame(figure, palette, height=280, legend=True)
    figure.add_hline(y=1, line={"width": 1, "dash": "dot", "color": palette.muted})
    figure.update_xaxes(**names.axis(len(table)), showgrid=False)
    return figure.update_yaxes(title_text="busiest GPU, × the mean")
