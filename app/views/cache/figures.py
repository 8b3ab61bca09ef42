"""Hit rates of caches of experts: by size, by layer, and how well experts are predicted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.domain_counts import ALL_LAYERS
from app.views.shared.heatmap import amount_axis, cell_heatmap, hover_on_cells
from app.views.shared.intervals import Measure
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, frame, ink, literal, shade

RATE = Measure("hit rate", ".1%")
TITLES = {
    "belady": "Belady's bound",
    "lru": "LRU",
    "lfu": "LFU",
    "fixed": "fixed by frequency",
    "least_stale": "least-stale",
    "prefetch_transitions": "prefetch, transitions",
    "prefetch_previous_token": "prefetch, previous token",
}
PREDICTORS = {
    "transitions": "from transitions",
    "previous_token": "from the previous token",
}
AHEAD = "3px,3px"
NUMBERS = 24  # layers: so many cells in a row have room for a number


def hit_rate_lines(table: pd.DataFrame, palette: Palette, *, slots: int, most: int) -> go.Figure:
    """A line a policy over the sizes of a cache, with intervals; dotted: `slots`; dashed: the share
    of all experts that fits. table: rows of all layers of a hit_rate_table."""
    figure = go.Figure()
    sizes = np.sort(table.slots.unique())
    figure.add_scatter(
        x=sizes,
        y=sizes / most,
        mode="lines",
        name="share that fits",
        line={"color": palette.muted, "width": 1.5, "dash": "dash"},
        hovertemplate="%{x:,} slots hold <b>%{y:.1%}</b> of all experts<extra></extra>",
    )
    for policy, color in policy_colors(palette).items():
        rows = table[table.policy == policy].sort_values("slots")
        if rows.empty:
            continue
        known = rows.low.notna()
        reach = {
            "symmetric": False,
            "array": (rows.high - rows.estimate).where(known),
            "arrayminus": (rows.estimate - rows.low).where(known),
            "thickness": 1,
            "width": 3,
        }
        figure.add_scatter(
            x=rows.slots,
            y=rows.estimate,
            error_y=reach,
            mode="lines+markers",
            name=TITLES[policy],
            line={
                "color": color,
                "width": 2,
                "dash": AHEAD if policy.startswith("prefetch") else "solid",
            },
            marker={"size": 5},
            text=[hit_rate_text(row) for row in rows.itertuples()],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.add_vline(x=slots, line={"color": palette.muted, "width": 1.5, "dash": "dot"})
    frame(figure, palette, height=420, legend=True)
    figure.update_xaxes(title_text="slots, experts of all layers", rangemode="tozero")
    figure.update_yaxes(title_text="hit rate", tickformat=".0%", range=[0, 1.02])
    return figure


def pool_lines(kinds: Mapping[bool, pd.DataFrame], palette: Palette, *, slots: int) -> go.Figure:
    """Of some policies a line in one pool and one with slots by layer (kinds: per_layer or not)."""
    figure = go.Figure()
    for policy in ("belady", "lru", "lfu"):
        for per_layer, table in kinds.items():
            rows = table[table.policy == policy].sort_values("slots")
            figure.add_scatter(
                x=rows.slots,
                y=rows.estimate,
                mode="lines+markers",
                name=f"{TITLES[policy]}, {'by layer' if per_layer else 'one pool'}",
                line={
                    "color": policy_colors(palette)[policy],
                    "width": 2,
                    "dash": "7px,4px" if per_layer else "solid",
                },
                marker={"size": 5},
                text=[hit_rate_text(row) for row in rows.itertuples()],
                hovertemplate="%{text}<extra></extra>",
            )
    figure.add_vline(x=slots, line={"color": palette.muted, "width": 1.5, "dash": "dot"})
    frame(figure, palette, height=340, legend=True)
    figure.update_xaxes(title_text="slots, experts of all layers", rangemode="tozero")
    return figure.update_yaxes(title_text="hit rate", tickformat=".0%", range=[0, 1.02])


def policy_colors(palette: Palette) -> dict[str, str]:
    others = [name for name in TITLES if name != "belady"]
    return {"belady": palette.text, **dict(zip(others, palette.distinct, strict=False))}


def hit_rate_text(row: Any, names: LayerNames = NUMBERED) -> str:
    """All that is known of a row of a hit_rate_table, one line per fact."""
    where = "" if row.layer_id == ALL_LAYERS else f", {names.hover(row.layer_id)}"
    span, gain = RATE.span(row.low, row.high), f"{100 * row.gain:+.1f} points over LRU"
    lines = [f"{TITLES[row.policy]}, {row.slots:,} slots{where}"]
    if not pd.isna(row.estimate):
        lines.append(f"<b>{RATE.text(row.estimate)}</b>{span and f' ({span})'}")
        lines.append(f"{RATE.text(row.null)} of the experts fit")
        if row.policy != "lru":
            lines.append(gain)
        lines.append(f"{row.misses:.2f} misses a token")
    if row.ahead:
        lines.append(f"{row.ahead:.2f} loaded ahead a token")
    return "<br>".join(lines)


def layer_heatmap(
    table: pd.DataFrame, palette: Palette, *, num_layers: int, names: LayerNames = NUMBERED
) -> go.Figure:
    """Policies by layers. table: rows of single layers of a hit_rate_table, one size."""
    policies = [policy for policy in TITLES if policy in set(table.policy)]
    by_cell: dict[Any, Any] = {(row.policy, row.layer_id): row for row in table.itertuples()}
    cells = [[by_cell[policy, layer] for layer in range(num_layers)] for policy in policies]
    figure = cell_heatmap(
        np.array([[cell.estimate for cell in row] for row in cells]),
        palette,
        rows=[TITLES[policy] for policy in policies],
        columns=[literal(names.choice(layer)) for layer in range(num_layers)],
        hover_RC=np.array([[hit_rate_text(cell, names) for cell in row] for row in cells]),
        coloraxis=amount_axis(palette, high=1.0, title="hit rate", tickformat=".0%"),
        height=34 * len(policies) + 70,
    )
    hover_on_cells(figure)
    if num_layers <= NUMBERS:
        known = [
            (column, row, cell.estimate)
            for row, in_row in enumerate(cells)
            for column, cell in enumerate(in_row)
            if not pd.isna(cell.estimate)
        ]
        figure.add_scatter(
            x=[column for column, _, _ in known],
            y=[row for _, row, _ in known],
            mode="text",
            text=[f"{share:.0%}" for _, _, share in known],
            textfont={
                "size": 12,
                "color": [ink(shade(palette.sequential, share)) for _, _, share in known],
            },
            hoverinfo="skip",
            showlegend=False,
        )
    return figure.update_xaxes(title_text="MoE layer")


def points(low: float, high: float) -> str:
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def prediction_dots(table: pd.DataFrame, palette: Palette) -> go.Figure:
    """Precision and recall of each prediction, with intervals and chance. table: of
    prediction_table."""
    figure = go.Figure()
    predictors = [name for name in PREDICTORS if name in set(table.predictor)]
    place = {name: row for row, name in enumerate(predictors)}
    for measure, color, apart in (
        ("precision", palette.accent, -0.13),
        ("recall", palette.distinct[2], 0.13),
    ):
        rows = table[table.measure == measure]
        y = [place[name] + apart for name in rows.predictor]
        known = rows.low.notna()
        figure.add_scatter(
            x=rows.estimate,
            y=y,
            mode="markers",
            name=measure,
            marker={"size": 11, "color": color, "line": {"width": 1.5, "color": palette.ground}},
            error_x={
                "symmetric": False,
                "array": (rows.high - rows.estimate).where(known),
                "arrayminus": (rows.estimate - rows.low).where(known),
                "thickness": 2,
                "width": 4,
            },
            text=[_prediction_text(row) for row in rows.itertuples()],
            hovertemplate="%{text}<extra></extra>",
        )
        others = {
            "most chosen": (rows.most_chosen, "diamond-open", palette.text),
            "by chance": (rows.null, "line-ns", palette.muted),
        }
        for name, (x, symbol, line) in others.items():
            figure.add_scatter(
                x=x,
                y=y,
                mode="markers",
                name=name,
                showlegend=measure == "recall" and bool(x.notna().any()),
                marker={
                    "symbol": symbol,
                    "size": 13 if name == "by chance" else 9,
                    "color": line,
                    "line": {"width": 2, "color": line},
                },
                hoverinfo="skip",
            )
    frame(figure, palette, height=70 * len(predictors) + 90, legend=True)
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(
        tickvals=list(place.values()),
        ticktext=[PREDICTORS[name] for name in predictors],
        range=[len(predictors) - 0.5, -0.5],
        showgrid=False,
    )
    return figure


def _prediction_text(row: Any) -> str:
    span = RATE.span(row.low, row.high)
    lines = [
        PREDICTORS[row.predictor],
        f"{row.measure} <b>{RATE.text(row.estimate)}</b>{span and f' ({span})'}",
    ]
    if not pd.isna(row.most_chosen):
        ends = f" ({points(row.gain_low, row.gain_high)})" if not pd.isna(row.gain_low) else ""
        lines.append(f"as many of the most chosen {RATE.text(row.most_chosen)}")
        lines.append(f"{100 * row.gain:+.1f} points over them{ends}")
    return "<br>".join([*lines, f"by chance {RATE.text(row.null)}"])
