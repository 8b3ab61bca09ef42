"""What training did, along its steps or tokens: a table in, lines out.

Tables have the columns step, tokens and a value, and perhaps `null`: what chance would give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.views.shared.theme import (
    TRAINING_COLORS,
    Palette,
    depth_colors,
    domain_colors,
    frame,
    literal,
)
from data.labels import NONE, TOO_LITTLE

HEIGHT = 330
DASHES = ("solid", "14px,4px", "11px,7px", "8px,10px", "5px,13px")  # each shows those beneath
LETTER = 0.0135  # of a figure's width
TITLES = {"step": "training step", "tokens": "tokens read"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What lines are drawn along. Stages make it linear: they would be crushed otherwise."""

    by: str  # column: step or tokens
    stages: tuple[tuple[str, float, float], ...] = ()  # name, first and last step or token so far

    def along(self, figure: go.Figure, palette: Palette, *, end: float) -> None:
        scale = {"rangemode": "tozero"} if self.stages else {"type": "log", "dtick": 1}
        whole = {"tickformat": ",d"} if self.by == "step" else {}
        figure.update_xaxes(title_text=TITLES[self.by], **scale, **whole)
        if self.stages:
            figure.update_layout(margin={"t": 48 if figure.layout.showlegend else 24})
            figure.update_layout(legend={"yref": "container", "y": 1, "yanchor": "top"})
        for name, first, last in self.stages:
            if first > 0:
                figure.add_vline(first, line={"color": palette.muted, "width": 1, "dash": "2px"})
            if (last - first) / end > LETTER * len(name):
                figure.add_annotation(
                    text=literal(name),
                    x=first,
                    xshift=3,
                    y=1,
                    yref="paper",
                    xanchor="left",
                    yanchor="bottom",
                    showarrow=False,
                    font={"size": 11, "color": palette.muted},
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    table: pd.DataFrame
    value: str  # its column
    color: str
    name: str  # of the legend; empty: none
    hover: str = ""  # where it says more than the name
    dash: str = "solid"


def step_lines(
    lines: Sequence[Line], palette: Palette, *, axis: Axis, title: str, form: str = ".3f"
) -> go.Figure:
    """The numbers written in `form` where the pointer is; in per cent if it says so."""
    figure = go.Figure()
    for line in lines:
        thin, few = line.dash == "dot", len(line.table) <= 40
        figure.add_scatter(
            x=line.table[axis.by],
            y=line.table[line.value],
            mode="lines+markers" if few and not thin else "lines",
            marker={"size": 4},
            name=literal(line.name),
            showlegend=bool(line.name),
            line={"color": line.color, "width": 1.3 if thin else 2, "dash": line.dash},
            customdata=line.table.step,
            hovertemplate=(
                f"{literal(line.hover or line.name)}, step %{{customdata:,}}: %{{y:{form}}}"
                "<extra></extra>"
            ),
        )
    frame(figure, palette, height=HEIGHT, legend=any(line.name for line in lines))
    axis.along(figure, palette, end=max(line.table[axis.by].max() for line in lines))
    percent = {"tickformat": ".0%"} if form.endswith("%") else {}
    return figure.update_yaxes(title_text=title, rangemode="tozero", **percent)


def layer_lines(table: pd.DataFrame, palette: Palette, *, value: str, null: str = "") -> list[Line]:
    """One line per layer, pale to strong with depth; chance, mean over layers, is dotted."""
    layers = sorted(table.layer_id.unique())
    lines = [
        Line(
            table=table[table.layer_id == layer],
            value=value,
            color=color,
            name=f"layer {layer}" if layer in (layers[0], layers[-1]) else "",
            hover=f"layer {layer}",
        )
        for layer, color in zip(layers, depth_colors(len(layers), palette), strict=True)
    ]
    return [*lines, _chance(table, palette, null)] if null else lines


def domain_lines(
    table: pd.DataFrame, palette: Palette, *, value: str, null: str = ""
) -> list[Line]:
    """One line per domain in its colour, "none" dashed, "too little data" dashed and dotted if
    there is any; chance, mean over domains, is dotted.

    Domains are not in the legend: a page names their colours once.
    """
    table = table[(table.domain != TOO_LITTLE) | (table[value] > 0)]
    names = list(dict.fromkeys(table.domain))
    colors = domain_colors(names, palette)
    dashes = {NONE: "dash", TOO_LITTLE: "dashdot"}
    lines = [
        Line(
            table=table[table.domain == name],
            value=value,
            color=palette.muted if name in dashes else colors[name],
            name=name if name in dashes else "",
            hover=name,
            dash=dashes.get(name, "solid"),
        )
        for name in names
    ]
    return [*lines, _chance(table[~table.domain.isin(dashes)], palette, null)] if null else lines


def training_colors(names: Sequence[str], palette: Palette) -> dict[str, str]:
    return dict(zip(names, (palette.accent, *TRAINING_COLORS), strict=False))


def training_lines(tables: dict[str, pd.DataFrame], palette: Palette, *, value: str) -> list[Line]:
    """One line per training by name, not in the legend, with its chance dotted in its colour."""
    lines: list[Line] = []
    colors = training_colors(list(tables), palette).items()
    for (name, color), dash in zip(colors, DASHES, strict=False):
        if (table := tables[name]).empty:
            continue
        lines.append(Line(table=table, value=value, color=color, name="", hover=name, dash=dash))
        if "null" in table:
            by_chance = f"{name} by chance"
            lines.append(
                Line(table=table, value="null", color=color, name="", hover=by_chance, dash="dot")
            )
    return lines


def loss_lines(moe: pd.DataFrame, dense: pd.DataFrame | None, palette: Palette) -> list[Line]:
    if dense is None:
        return [Line(table=moe, value="loss", color=palette.accent, name="", hover="loss")]
    return [
        Line(table=dense, value="loss", color=palette.muted, name="dense", dash="dot"),
        Line(table=moe, value="loss", color=palette.accent, name="MoE"),
    ]


def bits_dots(
    models: dict[str, pd.Series], palette: Palette, colors: Mapping[str, str | Sequence[str]]
) -> go.Figure:
    """Bits per byte by domain (index), a disc a model; a line from the least to the most."""
    table = pd.DataFrame(models)
    names = list(dict.fromkeys(name for values in models.values() for name in values.index))
    table = table.loc[names]
    rows = np.arange(len(names))
    figure = go.Figure()
    for row, low, high in zip(rows, table.min(axis=1), table.max(axis=1), strict=True):
        figure.add_shape(
            type="line",
            x0=low,
            x1=high,
            y0=row,
            y1=row,
            line={"color": palette.neutral, "width": 2},
            layer="below",
        )
    for name in models:
        ring = name == "dense"
        figure.add_scatter(
            x=table[name],
            y=rows,
            mode="markers",
            name=literal(name),
            marker={
                "symbol": "circle-open" if ring else "circle",
                "size": 11,
                "color": colors[name],
                "line": {"width": 2 if ring else 0},
            },
            hovertemplate=f"{literal(name)}: %{{x:.3f}} bits per byte<extra></extra>",
        )
    frame(figure, palette, height=HEIGHT, legend=len(models) > 1)
    figure.update_xaxes(title_text="bits per byte of held-out text (lower is better)")
    figure.update_yaxes(
        tickvals=rows, ticktext=[literal(name) for name in names], autorange="reversed"
    )
    return figure


def _chance(table: pd.DataFrame, palette: Palette, name: str) -> Line:
    mean = table.groupby(["step", "tokens"], as_index=False, dropna=False)[["null"]].mean()
    return Line(table=mean, value="null", color=palette.muted, name=name, dash="dot")
