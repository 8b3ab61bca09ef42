"""How evenly the experts of every layer are used.

L = MoE layers, E = routed experts.
"""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.groups import NOT_ENOUGH, in_words
from analysis.significance import MAX_Q
from app.studies.estimates import COMING
from app.views.shared.heatmap import (
    amount_axis,
    cell_heatmap,
    crowded,
    dot_sure_cells,
    fill_cells,
    hatch_cells,
    ratio_axis,
)
from app.views.shared.intervals import RATIO, probability
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, frame

LIMIT = 2  # log2: from a quarter to four times the balanced load


def load_order(tokens_LE: np.ndarray, *, by_load: bool) -> np.ndarray:
    """Expert id of every cell: in order of number, or each layer from its busiest on."""
    if by_load:
        return np.argsort(-tokens_LE, axis=-1, kind="stable")
    return np.broadcast_to(np.arange(tokens_LE.shape[1]), tokens_LE.shape)


def load_heatmap(
    tokens_LE: np.ndarray,
    table: pd.DataFrame,
    palette: Palette,
    *,
    order_LE: np.ndarray,
    by_load: bool,
    only_sure: bool = False,
    counted: bool = False,
    names: LayerNames = NUMBERED,
) -> go.Figure:
    """Colour = load relative to balanced, from an expert_load_table; a layer without tokens is
    empty, and so is a place that is no expert. Dot: q < 0.05, or the only cells that are left.
    Cross, or ink: not chosen. Hatched: too few independent texts to say, unless the loads are all
    that was `counted`, and no sample."""

    def grid(values: np.ndarray, *, empty: object) -> np.ndarray:
        values_LE = np.full(tokens_LE.shape, empty, dtype=values.dtype)
        values_LE[table.layer_id, table.expert_id] = values
        return np.take_along_axis(values_LE, order_LE, -1)

    with np.errstate(divide="ignore", invalid="ignore"):
        log_LE = np.log2(tokens_LE / np.nanmean(tokens_LE, -1, keepdims=True))
    log_LE = np.take_along_axis(log_LE, order_LE, -1)
    undecided_LE = grid((table.note == NOT_ENOUGH).to_numpy(bool) & (not counted), empty=False)
    sure_LE = grid((table.q < MAX_Q).fillna(False).to_numpy(bool), empty=False)
    shown_LE = sure_LE if only_sure else ~undecided_LE
    brief = crowded(*tokens_LE.shape)
    hover = [load_text(row, names, brief=brief) for row in table.itertuples()]
    figure = cell_heatmap(
        np.where(shown_LE, np.clip(log_LE, -LIMIT - 1, LIMIT + 1), np.nan),
        palette,
        rows=names.labels(len(tokens_LE)),
        columns=[str(place) for place in range(tokens_LE.shape[1])],
        hover_RC=grid(np.array(hover), empty=""),
        coloraxis=ratio_axis(palette, limit=LIMIT, title="load"),
        height=max(260, 38 * len(tokens_LE) + 90),
    )
    hatch_cells(figure, undecided_LE & ~np.array(only_sure), palette)
    dot_sure_cells(figure, sure_LE, palette)
    _cross_cells(figure, np.isneginf(log_LE), palette)
    title = "rank in the layer, busiest first" if by_load else "expert"
    figure.update_xaxes(title_text=title, tickfont={"size": 10}, tickangle=0)
    return figure


def load_histogram(
    load_LE: np.ndarray, palette: Palette, *, inside_LE: np.ndarray, step: float
) -> go.Figure:
    """Experts by load; in colour those that are inside."""
    known = load_LE[np.isfinite(load_LE)]
    edges = np.arange(0, known.max() + 2 * step, step)
    figure = go.Figure()
    all_B, inside_B = (np.histogram(of, edges)[0] for of in (known, load_LE[inside_LE]))
    for counts, color, name in (
        (inside_B, palette.accent, "in the range"),
        (all_B - inside_B, palette.neutral, "others"),
    ):
        figure.add_bar(
            x=edges[:-1] + step / 2,
            y=counts,
            width=step * 0.92,
            name=name,
            marker={"color": color, "line": {"width": 0}},
            hovertemplate="%{y:,} experts with a load of about %{x:.2f}×<extra></extra>",
        )
    frame(figure, palette, height=220)
    figure.update_layout(barmode="stack", dragmode="select", selectdirection="h")
    figure.update_xaxes(title_text="load (1×: balanced)", ticksuffix="×")
    return figure.update_yaxes(title_text="experts")


def dropped_heatmap(
    tokens_LE: np.ndarray,
    dropped_LE: np.ndarray,
    palette: Palette,
    *,
    order_LE: np.ndarray,
    names: LayerNames = NUMBERED,
) -> go.Figure:
    """Share of each expert's choices that were dropped because it was full; empty where none were
    made, and where there is no expert."""
    lost_LE, kept_LE = (
        np.take_along_axis(counts_LE, order_LE, -1) for counts_LE in (dropped_LE, tokens_LE)
    )
    all_LE = lost_LE + kept_LE
    share_LE = np.divide(lost_LE, all_LE, out=np.full(all_LE.shape, np.nan), where=all_LE > 0)
    hover = [
        [
            f"{names.hover(layer)}, expert {order_LE[layer, place]}<br>"
            f"{lost_LE[layer, place]:,.0f} of {all_LE[layer, place]:,.0f} choices dropped"
            if all_LE[layer, place] >= 0
            else ""
            for place in range(all_LE.shape[1])
        ]
        for layer in range(len(all_LE))
    ]
    return cell_heatmap(
        share_LE,
        palette,
        rows=names.labels(len(all_LE)),
        columns=[str(place) for place in range(all_LE.shape[1])],
        hover_RC=np.array(hover),
        coloraxis=amount_axis(
            palette, high=float(np.nanmax(share_LE)), title="dropped", tickformat=".0%"
        ),
        height=max(220, 38 * len(all_LE) + 60),
    )


def _cross_cells(figure: go.Figure, cells_LE: np.ndarray, palette: Palette) -> None:
    if crowded(*cells_LE.shape):
        fill_cells(figure, cells_LE, palette.text)
        return
    row, column = np.nonzero(cells_LE)
    figure.add_scatter(
        x=column,
        y=row,
        mode="markers",
        marker={"symbol": "x-thin", "size": 7, "line": {"width": 1.5, "color": palette.text}},
        hoverinfo="skip",
    )


def load_text(row: Any, names: LayerNames = NUMBERED, *, brief: bool = False) -> str:
    """All that is known of a cell, one line per fact; `brief`: of that which differs by cell."""
    lines = [f"{names.hover(row.layer_id)}, expert {row.expert_id}"]
    if not pd.isna(row.estimate):
        span = "" if pd.isna(row.low) else f" ({RATIO.span(2**row.low, 2**row.high)})"
        lines.append(f"<b>{RATIO.text(2**row.estimate)}</b>{span}, balanced 1×")
    if not pd.isna(row.p):
        lines.append(f"p {probability(row.p)}, q {probability(row.q)}")
        if row.p > MAX_Q and row.high < 0:
            lines.append("tested as if a group that chooses it most were missing")
    sample = "" if brief else f"{in_words(row.n_documents, row.n_groups)}, "
    lines.append(f"{sample}{row.n_tokens:,} choices")
    if row.note and not (brief and row.note == COMING):
        lines.append(f"<i>{row.note}</i>")
    return "<br>".join(lines)
