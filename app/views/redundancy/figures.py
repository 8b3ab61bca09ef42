"""Which experts of a layer are similar, how many a threshold leaves, and what fewer cost.

E = routed experts, R = rules.
"""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from analysis.groups import in_words
from app.views.shared.heatmap import (
    cell_heatmap,
    dot_cells,
    hover_on_cells,
    similarity_axis,
)
from app.views.shared.theme import Palette, frame, literal

TREE = 0.16  # of the width
COLORS = {"outputs": "#4477aa", "weights": "#2a8c3f", "aligned": "#b0458a", "routing": "#c4a935"}


def tree_of(similarity_EE: np.ndarray) -> np.ndarray:
    """Average linkage of 1 - similarity; what cannot be compared counts as completely
    dissimilar."""
    distance_EE = 1 - np.nan_to_num(similarity_EE, nan=-1.0).astype(float)
    np.fill_diagonal(distance_EE, 0)
    pairs = squareform((distance_EE + distance_EE.T) / 2)
    return hierarchy.linkage(pairs, "average", optimal_ordering=True)


def similarity_map(
    similarity_EE: np.ndarray,
    palette: Palette,
    *,
    leader_E: np.ndarray,
    null: float,
    threshold: float,
) -> go.Figure:
    """Experts by experts in the order of their tree, which stands beside them; a dot on every two
    that would share weights. The ground's colour is what unrelated experts give, the strongest
    colour the threshold: what is far from it looks like nothing."""
    tree = tree_of(similarity_EE)
    order_E = hierarchy.leaves_list(tree)
    shown_EE = np.where(np.eye(len(order_E), dtype=bool), np.nan, similarity_EE)
    shown_EE = shown_EE[np.ix_(order_E, order_E)]
    limit = max(abs(threshold - null), 0.05)
    names = [str(expert) for expert in order_E]
    figure = cell_heatmap(
        shown_EE,
        palette,
        rows=names,
        columns=names,
        hover_RC=_hover(shown_EE, order_E, leader_E, null),
        coloraxis=similarity_axis(palette, null=null, limit=limit),
        height=max(380, 10 * len(order_E) + 90),
    )
    hover_on_cells(figure)
    figure.update_xaxes(fixedrange=True)  # the tree beside it does not zoom
    figure.update_yaxes(fixedrange=True)
    together_EE = np.equal.outer(leader_E, leader_E) & ~np.eye(len(leader_E), dtype=bool)
    dot_cells(figure, together_EE[np.ix_(order_E, order_E)], palette)
    _add_tree(figure, tree, palette)
    small = {"tickfont": {"size": 9}}
    across = {"domain": [TREE + 0.02, 1], "tickangle": -90, "title": {"text": "expert"}}
    figure.update_layout(xaxis=small | across)
    figure.update_layout(yaxis=small | {"anchor": "free", "position": TREE + 0.015})
    return figure


def _hover(
    shown_EE: np.ndarray, order_E: np.ndarray, leader_E: np.ndarray, null: float
) -> np.ndarray:
    hover_EE = np.empty(shown_EE.shape, dtype=object)
    for row, a in enumerate(order_E):
        for column, b in enumerate(order_E):
            lines = [f"expert {a}"]
            if a != b:
                value = shown_EE[row, column]
                known = "not comparable" if np.isnan(value) else f"<b>{value:.3f}</b>"
                lines = [f"experts {a} and {b}: {known}", f"unrelated experts {null:.3f}"]
                if leader_E[a] == leader_E[b]:
                    lines.append(f"both would run the weights of {leader_E[a]}")
            hover_EE[row, column] = "<br>".join(lines)
    return hover_EE


def _add_tree(figure: go.Figure, tree: np.ndarray, palette: Palette) -> None:
    """Leaves at the right, beside their rows; merged at their similarity."""
    joints = hierarchy.dendrogram(tree, no_plot=True)
    low, high = 1 - tree[-1, 2], 1 - tree[0, 2]
    room = max(high - low, 0.01) * 0.08
    leaf = high + room
    x: list[float | None] = []
    y: list[float | None] = []
    for across, down in zip(joints["dcoord"], joints["icoord"], strict=True):
        x += [leaf if distance == 0 else 1 - distance for distance in across] + [None]
        y += [(place - 5) / 10 for place in down] + [None]
    figure.add_scatter(
        x=x,
        y=y,
        xaxis="x2",
        mode="lines",
        line={"color": palette.muted, "width": 1},
        hoverinfo="skip",
    )
    figure.update_layout(
        xaxis2={
            "domain": [0.03, TREE - 0.02],  # the title is wider
            "range": [low - room, leaf],
            "anchor": "y",
            "nticks": 3,
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "tickfont": {"size": 9, "color": palette.muted},
            "title": {"text": "merged at", "font": {"size": 12, "color": palette.muted}},
        }
    )


def left_lines(table: pd.DataFrame, palette: Palette, *, threshold: float) -> go.Figure:
    """One line per similarity: experts left in the whole model at every threshold.

    table: by, threshold, experts.
    """
    figure = go.Figure()
    for by, rows in table.groupby("by", sort=False):
        figure.add_scatter(
            x=rows.threshold,
            y=rows.experts.astype(float),
            mode="lines",
            name=str(by),
            line={"color": COLORS[str(by)], "width": 2},
            hovertemplate=(
                f"{by}, threshold %{{x:.2f}}: <b>%{{y:,}}</b> experts left<extra></extra>"
            ),
        )
    line = {"color": palette.muted, "width": 1.5, "dash": "dot"}
    figure.add_vline(x=threshold, line=line)
    frame(figure, palette, height=320, legend=True)
    figure.update_xaxes(title_text="threshold", range=[0, 1])
    figure.update_yaxes(title_text="experts left", rangemode="tozero")
    return figure


def cost_lines(table: pd.DataFrame, palette: Palette, *, most: int) -> go.Figure:
    """One line per rule: increase in bits per byte, with its interval, against the share of experts
    removed.

    table: by, how, threshold, share, experts, change, low, high, n, changed_choices.
    """
    figure = go.Figure()
    for (by, how), rows in table.groupby(["by", "how"], sort=False):
        ordered = rows.drop_duplicates("experts").sort_values("experts", ascending=False)
        color = COLORS.get(str(by), palette.text if by == "saliency" else palette.muted)
        dash = "dot" if by == "random" or how == "merge" else "solid"
        figure.add_scatter(
            x=1 - ordered.experts / most,
            y=ordered.change,
            error_y=_error(ordered, color),
            mode="lines+markers",
            name=literal(f"{by}, {how}"),
            line={"color": color, "width": 2, "dash": dash},
            marker={"size": 7, "symbol": "circle-open" if how == "merge" else "circle"},
            text=[_cost_hover(row, most) for row in ordered.itertuples()],
            hovertemplate="%{text}<extra></extra>",
        )
    frame(figure, palette, height=420, legend=True)
    figure.update_layout(margin={"t": 62})
    figure.update_xaxes(title_text="experts removed", tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(title_text="increase in bits per byte", rangemode="tozero")
    return figure


def _error(rows: pd.DataFrame, color: str) -> dict[str, Any]:
    above, below = (rows.high - rows.change).astype(float), (rows.change - rows.low).astype(float)
    return {
        "type": "data",
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "color": color,
        "thickness": 1,
        "width": 3,
    }


def _cost_hover(row: Any, most: int) -> str:
    at = "" if pd.isna(row.threshold) else f", threshold {row.threshold:.3f}"
    span = "no interval" if pd.isna(row.low) else f"{row.low:+.4f} to {row.high:+.4f}"
    size = in_words(row.n, getattr(row, "n_groups", row.n))
    return (
        f"<b>{literal(row.by)}, {literal(row.how)}</b>{at}: {row.experts:,} of {most:,} experts "
        f"left<br>{row.change:+.4f} bits per byte ({span})<br>"
        f"{row.changed_choices:.1%} of the gate's choices change, {size}"
    )
