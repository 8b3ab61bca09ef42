"""Where the tokens of one text go: T = tokens, L = MoE layers, K = experts per token."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.views.shared.heatmap import amount_axis, cell_heatmap
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, frame, literal
from data.routing import NO_EXPERT


def token_heatmap(
    first: pd.DataFrame,
    palette: Palette,
    *,
    tokens: Sequence[str],
    categories_TL: np.ndarray | None,
    colors: Sequence[str],
    marked: int,
    names: LayerNames = NUMBERED,
) -> go.Figure:
    """Layers by tokens, each cell with the id of its strongest expert.

    Colour is the category of that expert (an index of `colors`), or its weight where there is none.
    `first`: position, layer_id, expert_id, weight and dropped of the first choice, tokens in order;
    a dropped one stands in brackets. `marked` is a column.
    """
    expert_LT = first.pivot(index="layer_id", columns="position", values="expert_id").to_numpy()
    weight_LT = first.pivot(index="layer_id", columns="position", values="weight").to_numpy()
    dropped_LT = first.pivot(index="layer_id", columns="position", values="dropped").to_numpy(bool)
    none_LT = expert_LT == NO_EXPERT
    positions = np.sort(first.position.unique())
    layers = np.sort(first.layer_id.unique())
    hover = [
        [
            f"token {positions[t]} <b>{literal(token)}</b><br>{names.hover(layer)}: "
            + _choice_text(expert_LT[place, t], weight_LT[place, t], dropped=dropped_LT[place, t])
            for t, token in enumerate(tokens)
        ]
        for place, layer in enumerate(layers)
    ]
    if categories_TL is None:
        values = weight_LT
        axis = amount_axis(
            palette, high=max(float(weight_LT.max()), 0.1), title="weight", tickformat=".2f"
        )
    else:
        values = categories_TL.T.astype(float)
        axis = {"colorscale": _steps(colors), "cmin": -0.5, "cmax": len(colors) - 0.5}
    figure = cell_heatmap(
        np.where(none_LT, np.nan, values),
        palette,
        rows=[literal(names[layer]) for layer in layers],
        columns=[_short(token) for token in tokens],
        hover_RC=np.array(hover),
        coloraxis=axis | {"showscale": categories_TL is None},
        height=34 * len(expert_LT) + 110,
    )
    if len(tokens) <= 64:
        shown_LT = expert_LT.astype(object)
        shown_LT[none_LT] = ""
        shown_LT[dropped_LT] = [f"({expert})" for expert in expert_LT[dropped_LT]]
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


def _choice_text(expert: int, weight: float, *, dropped: bool) -> str:
    if expert == NO_EXPERT:
        return "no expert"
    return f"expert {expert}, " + ("dropped (expert full)" if dropped else f"weight {weight:.2f}")


def token_path(
    routes: pd.DataFrame,
    palette: Palette,
    *,
    colors: Sequence[str],
    names: LayerNames = NUMBERED,
) -> go.Figure:
    """Every expert that one token chose: one row per layer, as wide as its weight.

    `routes`: layer_id, rank, expert_id, weight of one token; `colors` goes with its rows.
    """
    routes = routes.assign(color=list(colors))
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
            textangle=0,
            customdata=rows.expert_id,
            hovertext=[names.hover(layer_id) for layer_id in rows.layer_id],
            hovertemplate=(
                f"%{{hovertext}}, choice {int(str(rank)) + 1}: expert %{{customdata}}<br>"
                "weight %{x:.3f}<extra></extra>"
            ),
        )
    frame(figure, palette, height=34 * routes.layer_id.nunique() + 70)
    figure.update_layout(barmode="stack", bargap=0.22)
    figure.update_xaxes(title_text="gate weight", showgrid=False, rangemode="tozero")
    layers = sorted(routes.layer_id.unique())
    figure.update_yaxes(
        tickvals=layers,
        ticktext=[literal(names[layer]) for layer in layers],
        autorange="reversed",
        showgrid=False,
    )
    return figure


def _short(token: str) -> str:
    shown = token.strip(" ") or token
    return literal(shown if len(shown) <= 10 else shown[:9] + "…")


def _steps(colors: Sequence[str]) -> list[list[float | str]]:
    """A colour scale without transitions: one band a category."""
    edges = np.arange(len(colors) + 1) / len(colors)
    return [
        [float(edges[place + side]), color] for place, color in enumerate(colors) for side in (0, 1)
    ]
