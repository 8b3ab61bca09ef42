"""Which experts a word chooses. L = MoE layers, E = routed experts."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.significance import MAX_Q
from app.views.shared.heatmap import (
    cell_heatmap,
    dot_sure_cells,
    hatch_cells,
    ratio_axis,
)
from app.views.shared.intervals import RATIO, probability
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette

LIMIT = 3  # log2: from an eighth to eight times what the load explains


def word_heatmap(
    experts: pd.DataFrame,
    palette: Palette,
    *,
    experts_L: np.ndarray,
    only_sure: bool = False,
    names: LayerNames = NUMBERED,
) -> go.Figure:
    """Colour = lift, from a word_lift_table; an expert that nothing chooses is empty. Dot:
    q < 0.05, or the only cells that are left. Hatched: not tested."""
    shape = len(experts_L), int(experts_L.max())

    def grid(values: np.ndarray, *, empty: object) -> np.ndarray:
        values_LE = np.full(shape, empty, dtype=values.dtype)
        values_LE[experts.layer_id, experts.expert_id] = values
        return values_LE

    lift = experts.lift.to_numpy(float)
    log = np.log2(np.maximum(lift, 2.0 ** -(LIMIT + 1)))  # NaN stays
    sure_LE = grid((experts.q < MAX_Q).to_numpy(bool), empty=False)
    untested_LE = grid((experts.q.isna() & ~np.isnan(lift)).to_numpy(bool), empty=False)
    shown_LE = sure_LE if only_sure else ~untested_LE
    hover = [word_text(row, names) for row in experts.itertuples()]
    figure = cell_heatmap(
        np.where(shown_LE, grid(np.minimum(log, LIMIT + 1), empty=np.nan), np.nan),
        palette,
        rows=names.labels(shape[0]),
        columns=[str(expert_id) for expert_id in range(shape[1])],
        hover_RC=grid(np.array(hover), empty=""),
        coloraxis=ratio_axis(palette, limit=LIMIT, title="lift"),
        height=max(240, 34 * shape[0] + 90),
    )
    hatch_cells(figure, untested_LE & ~np.array(only_sure), palette)
    dot_sure_cells(figure, sure_LE, palette)
    return figure.update_xaxes(title_text="expert", tickfont={"size": 10}, tickangle=0)


def word_text(row: Any, names: LayerNames = NUMBERED) -> str:
    """All that is known of a cell, one line per fact."""
    lines = [f"{names.hover(row.layer_id)}, expert {row.expert_id}"]
    if not np.isnan(row.lift):
        span = "" if np.isnan(row.low) else f" ({RATIO.span(row.low, row.high)})"
        lines.append(f"<b>{RATIO.text(row.lift)}</b>{span}, by its load 1×")
    if not np.isnan(row.q):
        lines.append(f"p {probability(row.p)}, q {probability(row.q)}")
    lines.append(f"{row.tokens:,} choices, {row.expected:,.1f} expected")
    if row.note:
        lines.append(f"<i>{row.note}</i>")
    return "<br>".join(lines)
