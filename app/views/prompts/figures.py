"""Where the tokens of one text go: T = tokens, L = MoE layers, K = experts per token."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.views.shared.heatmap import amount_axis, cell_heatmap
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, frame, ink, literal, token_mark
from data.routing import NO_EXPERT

MOST_NUMBERS = 1_000  # on cells: they take long to draw


def numbered(first: pd.DataFrame) -> bool:
    """Its cells have room for the ids of experts, and are not too many to be drawn with them."""
    return first.position.nunique() <= 64 and len(first) <= MOST_NUMBERS


def token_heatmap(
    first: pd.DataFrame,
    palette: Palette,
    *,
    tokens: Sequence[str],
    values: np.ndarray,
    coloraxis: dict,
    marked: int,
    names: LayerNames = NUMBERED,
) -> go.Figure:
    """Layers by tokens, each cell with the id of its strongest expert.

    `first`: position, layer_id, expert_id, weight and dropped of the first choice, tokens in order;
    a dropped one stands in brackets. `values` are the colours of its rows; `marked` is a column.
    """
    first = first.assign(value=values)
    expert_LT, dropped_LT, value_LT = (
        first.pivot(index="layer_id", columns="position", values=name).to_numpy()
        for name in ("expert_id", "dropped", "value")
    )
    layers = np.sort(first.layer_id.unique()).tolist()
    hover = [
        [
            f"token {row.position} <b>{_literal(token)}</b><br>{names.hover(layer)}: {_choice(row)}"
            for token, row in zip(tokens, rows.itertuples(), strict=True)
        ]
        for layer, (_, rows) in zip(layers, first.groupby("layer_id"), strict=True)
    ]
    figure = cell_heatmap(
        value_LT.astype(float),
        palette,
        rows=[literal(names[layer]) for layer in layers],
        columns=[_short(token) for token in tokens],
        hover_RC=np.array(hover),
        coloraxis=coloraxis,
        height=34 * len(expert_LT) + 110,
    )
    if numbered(first):
        shown_LT = expert_LT.astype(object)
        dropped_LT = dropped_LT.astype(bool)
        shown_LT[dropped_LT] = [f"({expert})" for expert in expert_LT[dropped_LT]]
        shown_LT[expert_LT == NO_EXPERT] = ""
        figure.data[0].update(text=shown_LT, texttemplate="%{text}", textfont={"size": 11})
    figure.update_xaxes(tickangle=-60, tickfont={"size": 11})
    if 0 <= marked < len(tokens):
        figure.add_shape(
            type="rect",
            x0=marked - 0.5,
            x1=marked + 0.5,
            y0=-0.5,
            y1=len(expert_LT) - 0.5,
            line={"color": palette.text, "width": 2},
        )
    return figure


def token_path(
    routes: pd.DataFrame,
    palette: Palette,
    *,
    colors: Sequence[str],
    names: LayerNames = NUMBERED,
) -> go.Figure:
    """Every expert that one token chose: one row per layer, as wide as its weight; where weights
    are unknown, experts are as wide as each other.

    `routes`: layer_id, rank, expert_id, weight of one token; `colors` goes with its rows.
    """
    known = bool(routes.weight.notna().all())
    even = 1 / routes.groupby("layer_id")["rank"].transform("size")
    routes = routes.assign(color=list(colors), weight=routes.weight if known else even)
    gap = 2 if routes["rank"].max() < 48 else 0.5  # pixels: many experts are thin
    figure = go.Figure()
    for rank, rows in routes.groupby("rank"):
        figure.add_bar(
            x=rows.weight,
            y=rows.layer_id,
            orientation="h",
            marker={"color": rows.color, "line": {"color": palette.ground, "width": gap}},
            text=rows.expert_id.where(rows.weight >= 0.03).map(
                lambda e: "" if pd.isna(e) else f"{e:.0f}"
            ),
            textposition="inside",
            insidetextanchor="middle",
            insidetextfont={"color": [ink(color) for color in rows.color]},
            textangle=0,
            customdata=rows.expert_id,
            hovertext=[names.hover(layer_id) for layer_id in rows.layer_id],
            hovertemplate=(
                f"%{{hovertext}}, choice {int(str(rank)) + 1}: expert %{{customdata}}<br>"
                + ("weight %{x:.3f}" if known else "weight unknown")
                + "<extra></extra>"
            ),
        )
    frame(figure, palette, height=34 * routes.layer_id.nunique() + 70)
    figure.update_layout(barmode="stack", bargap=0.22)
    title = "gate weight" if known else "weight unknown"
    figure.update_xaxes(title_text=title, showgrid=False, rangemode="tozero", visible=known)
    layers = sorted(routes.layer_id.unique())
    figure.update_yaxes(
        tickvals=layers,
        ticktext=[literal(names[layer]) for layer in layers],
        autorange="reversed",
        showgrid=False,
    )
    return figure


def by_weight(first: pd.DataFrame, palette: Palette) -> tuple[np.ndarray, dict]:
    """Values and coloraxis of a token_heatmap; without any weight, there is no scale."""
    weight = first.weight.where(first.expert_id != NO_EXPERT)
    high = float(np.fmax(weight.max(), 0.1))
    axis = amount_axis(palette, high=high, title="weight", tickformat=".2f")
    return weight.to_numpy(), axis | {"showscale": bool(weight.notna().any())}


def _choice(row: Any) -> str:
    """In words, of a row of first choices."""
    if row.expert_id == NO_EXPERT:
        return "no expert"
    if row.dropped:
        return f"expert {row.expert_id}, dropped (expert full)"
    weight = "weight unknown" if np.isnan(row.weight) else f"weight {row.weight:.2f}"
    return f"expert {row.expert_id}, {weight}"


def _short(token: str) -> str:
    shown = token_mark(token.strip(" ") or token)
    return escape(shown if len(shown) <= 10 else shown[:9] + "…", quote=False)


def _literal(token: str) -> str:
    return escape(token_mark(token), quote=False)
