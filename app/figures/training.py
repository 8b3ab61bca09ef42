"""What training did: loss, balance, routing. L = MoE layers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.figures.theme import Palette, depth_colors, domain_colors, frame, literal

STEP = {"type": "log", "title_text": "training step", "dtick": 1}


def loss_lines(moe: pd.DataFrame, dense: pd.DataFrame | None, palette: Palette) -> go.Figure:
    figure = go.Figure()
    if dense is not None:
        _line(figure, dense.step, dense.loss, palette.muted, name="dense", dash="dot")
    _line(figure, moe.step, moe.loss, palette.accent, name="MoE")
    frame(figure, palette, height=340, legend=True)
    figure.update_xaxes(**STEP)
    figure.update_yaxes(title_text="loss (nats per token)")
    return figure


def layer_lines(
    table: pd.DataFrame, palette: Palette, *, value: str, title: str, reference: float, label: str
) -> go.Figure:
    """A line a layer, pale to strong with depth; the reference is dotted, named in the legend."""
    layers = sorted(table.layer_id.unique())
    figure = go.Figure()
    for layer, color in zip(layers, depth_colors(len(layers), palette), strict=True):
        here = table[table.layer_id == layer]
        name = f"layer {layer}" if layer in (layers[0], layers[-1]) else ""
        _line(figure, here.step, here[value], color, name=name, hover=f"layer {layer}")
        figure.data[-1].showlegend = bool(name)
    ends = pd.Series([table.step.min(), table.step.max()])
    level = pd.Series([reference, reference])
    _line(figure, ends, level, palette.muted, name=label, dash="dot")
    frame(figure, palette, height=340, legend=True)
    figure.update_xaxes(**STEP)
    figure.update_yaxes(title_text=title, rangemode="tozero")
    return figure


def bits_bars(table: pd.DataFrame, palette: Palette) -> go.Figure:
    """Bits per byte by domain: the MoE a disc in the domain's colour, its dense twin a ring."""
    names: Sequence[str] = list(table.domain)
    colors = domain_colors(names, palette) | {"all": palette.text}
    rows = np.arange(len(names))
    figure = go.Figure()
    for row in rows:
        figure.add_shape(
            type="line",
            x0=table.dense[row],
            x1=table.moe[row],
            y0=row,
            y1=row,
            line={"color": palette.neutral, "width": 2},
            layer="below",
        )
    ring = {"symbol": "circle-open", "size": 11, "color": palette.muted, "line": {"width": 2}}
    disc = {"size": 12, "color": [colors[name] for name in names]}
    for name, values, marker in (("dense", table.dense, ring), ("MoE", table.moe, disc)):
        figure.add_scatter(
            x=values,
            y=rows,
            mode="markers",
            name=name,
            marker=marker,
            hovertemplate=f"{name}: %{{x:.3f}} bits per byte<extra></extra>",
        )
    frame(figure, palette, height=340, legend=True)
    figure.update_xaxes(title_text="bits per byte of held-out text (less is better)")
    figure.update_yaxes(
        tickvals=rows, ticktext=[literal(name) for name in names], autorange="reversed"
    )
    return figure


def _line(
    figure: go.Figure,
    x: pd.Series,
    y: pd.Series,
    color: str,
    *,
    name: str,
    dash: str = "solid",
    hover: str = "",
) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        name=name,
        line={"color": color, "width": 2, "dash": dash},
        hovertemplate=f"{hover or name}, step %{{x:,}}: %{{y:.3f}}<extra></extra>",
    )
