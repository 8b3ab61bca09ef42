"""How evenly the experts of every layer are used.

L = MoE layers, E = routed experts.
"""

import numpy as np
import plotly.graph_objects as go

from app.figures.heatmap import amount_axis, cell_heatmap, ratio_axis
from app.figures.theme import Palette

LIMIT = 2  # log2: from a quarter to four times the balanced load


def load_order(tokens_LE: np.ndarray, *, by_load: bool) -> np.ndarray:
    """Expert id of every cell: in order of number, or each layer from its busiest on."""
    if by_load:
        return np.argsort(-tokens_LE, axis=-1, kind="stable")
    return np.broadcast_to(np.arange(tokens_LE.shape[1]), tokens_LE.shape)


def load_heatmap(
    tokens_LE: np.ndarray, palette: Palette, *, order_LE: np.ndarray, by_load: bool
) -> go.Figure:
    """Colour = load relative to balanced; cross: dead expert; a layer without tokens is empty."""
    sorted_LE = np.take_along_axis(tokens_LE, order_LE, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio_LE = sorted_LE / tokens_LE.mean(-1, keepdims=True)
        log_LE = np.clip(np.log2(ratio_LE), -LIMIT - 1, LIMIT + 1)
    hover = [
        [
            f"layer {layer}, expert {order_LE[layer, place]}<br>"
            + _ratio_text(ratio_LE[layer, place], sorted_LE[layer, place], tokens_LE[layer].sum())
            for place in range(tokens_LE.shape[1])
        ]
        for layer in range(len(tokens_LE))
    ]
    figure = cell_heatmap(
        log_LE,
        palette,
        rows=[f"layer {layer}" for layer in range(len(tokens_LE))],
        columns=[str(place) for place in range(tokens_LE.shape[1])],
        hover_RC=np.array(hover),
        coloraxis=ratio_axis(palette, limit=LIMIT, title="load"),
        height=max(260, 38 * len(tokens_LE) + 90),
    )
    dead = np.argwhere((sorted_LE == 0) & ~np.isnan(ratio_LE))
    if len(dead):
        figure.add_scatter(
            x=dead[:, 1],
            y=dead[:, 0],
            mode="markers",
            marker={"symbol": "x-thin", "size": 7, "line": {"width": 1.5, "color": palette.text}},
            hoverinfo="skip",
        )
    title = "place in the layer, busiest first" if by_load else "expert"
    figure.update_xaxes(title_text=title, tickfont={"size": 10}, tickangle=0)
    return figure


def dropped_heatmap(
    tokens_LE: np.ndarray, dropped_LE: np.ndarray, palette: Palette, *, order_LE: np.ndarray
) -> go.Figure:
    """Share of each expert's choices that it refused, being full; empty: nobody asked."""
    refused_LE, kept_LE = (
        np.take_along_axis(counts_LE, order_LE, -1) for counts_LE in (dropped_LE, tokens_LE)
    )
    asked_LE = refused_LE + kept_LE
    unasked_LE = np.full(asked_LE.shape, np.nan)
    share_LE = np.divide(refused_LE, asked_LE, out=unasked_LE, where=asked_LE > 0)
    hover = [
        [
            f"layer {layer}, expert {order_LE[layer, place]}<br>{refused_LE[layer, place]:,} of "
            f"{asked_LE[layer, place]:,} choices refused"
            for place in range(asked_LE.shape[1])
        ]
        for layer in range(len(asked_LE))
    ]
    return cell_heatmap(
        share_LE,
        palette,
        rows=[f"layer {layer}" for layer in range(len(asked_LE))],
        columns=[str(place) for place in range(asked_LE.shape[1])],
        hover_RC=np.array(hover),
        coloraxis=amount_axis(
            palette, high=float(np.nanmax(share_LE)), title="refused", tickformat=".0%"
        ),
        height=max(220, 38 * len(asked_LE) + 60),
    )


def _ratio_text(ratio: float, tokens: int, of: int) -> str:
    if np.isnan(ratio):
        return "no token was routed in this layer"
    return f"<b>{ratio:.2f}×</b> balanced<br>{tokens:,} of the layer's {of:,} choices"
