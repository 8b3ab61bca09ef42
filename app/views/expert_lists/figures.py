"""A list of experts on the map of all of them, and what it carries beside chance.

L = MoE layers, E = routed experts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.views.shared.heatmap import amount_axis, cell_heatmap, dot_sure_cells, ratio_axis
from app.views.shared.intervals import Measure
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, annotate, column_text, frame, label, literal
from data.words import counted

ROW, MANY_ROWS = 38, 20  # pixels; of more than MOST_ROWS
MOST_ROWS = 16
LIMITS = {"quantize": 3, "watch": 1}  # log2, to either side
TITLES = {
    "prune": "on lists",
    "tune": "on lists",
    "merge": "closeness",
    "quantize": "of needed",
    "watch": "later load",
}


def list_map(
    value_LE: np.ndarray,
    listed_LE: np.ndarray,
    palette: Palette,
    *,
    kind: str,
    hover_LE: np.ndarray,
    names: LayerNames = NUMBERED,
) -> go.Figure:
    """Layers by experts; what a colour means depends on the kind of list. Dot: on the list."""
    if limit := LIMITS.get(kind):
        axis = ratio_axis(palette, limit=limit, title=TITLES[kind])
        value_LE = np.clip(value_LE, -limit - 1, limit + 1)
    else:
        form = ".1f" if kind == "merge" else ".0%"
        axis = amount_axis(palette, high=1, title=TITLES[kind], tickformat=form)
    figure = cell_heatmap(
        value_LE,
        palette,
        rows=names.labels(len(value_LE)),
        columns=[str(expert) for expert in range(value_LE.shape[1])],
        hover_RC=hover_LE,
        coloraxis=axis,
        height=max(220, ROW * len(value_LE) + 90),
    )
    dot_sure_cells(figure, listed_LE, palette)
    return figure.update_xaxes(title_text="expert", tickfont={"size": 10}, tickangle=0)


def share_bars(
    measured: pd.DataFrame,
    palette: Palette,
    *,
    colors: Sequence[str],
    measure: Measure,
    title: str,
) -> go.Figure:
    """A bar a row of a measured table, with its interval; a tick for chance and a diamond for the
    bound."""
    figure, rows = go.Figure(), measured.reset_index(drop=True)
    places = list(range(len(rows)))
    figure.add_bar(
        x=rows.estimate.astype(float),
        y=places,
        orientation="h",
        marker={"color": list(colors), "line": {"width": 0}},
        width=0.62,
        opacity=0.85,
        text=[_hover(row, measure) for row in rows.to_dict("records")],
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    records: list[Any] = rows.to_dict("records")
    known = [(place, row) for place, row in enumerate(records) if pd.notna(row["low"])]
    figure.add_scatter(
        x=[end for _, row in known for end in (row["low"], row["high"], None)],
        y=[place for place, _ in known for _ in range(3)],
        mode="lines",
        name="95 % interval",
        line={"color": palette.text, "width": 2},
        hoverinfo="skip",
        showlegend=bool(known),
    )
    for column, symbol, color in (
        ("chance", "line-ns", palette.muted),
        ("bound", "diamond-open", palette.text),
    ):
        some = rows[rows[column].notna()]
        figure.add_scatter(
            x=some[column].astype(float),
            y=some.index,
            mode="markers",
            name={"chance": "chance", "bound": "best possible"}[column],
            marker={
                "symbol": symbol,
                "size": 17 if column == "chance" else 9,
                "color": color,
                "line": {"width": 2, "color": color},
            },
            hoverinfo="skip",
            showlegend=not some.empty,
        )
    estimates = [f"<b>{measure.text(row['estimate'])}</b>" for row in records]
    spans = [measure.span(row["low"], row["high"]) for row in records]
    written = [column_text(place, text, place=62) for place, text in enumerate(estimates)]
    for place, span in enumerate(spans):
        written.append(column_text(place, span, place=160, color=palette.muted))
    annotate(figure, written)
    height = (ROW if len(rows) <= MOST_ROWS else MANY_ROWS) * len(rows)
    frame(figure, palette, height=height + 110, legend=True)
    figure.update_layout(margin={"r": 168}, bargap=0)
    figure.update_yaxes(
        tickvals=places,
        ticktext=[literal(str(name)) for name in rows["name"]],
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
    )
    form = measure.form if measure.form.endswith("f") else ".0%"
    columns = ["estimate", "low", "high", "chance", "bound"]
    ends = rows[columns].to_numpy(float, na_value=np.nan)
    reach = [min(0, 1.04 * float(np.nanmin(ends))), 1.04 * float(np.nanmax(ends))]
    return figure.update_xaxes(title_text=title, tickformat=form, range=reach)


def common_map(table: pd.DataFrame, palette: Palette) -> go.Figure:
    """What the target lists of every two domains have in common, from targets_in_common."""
    domains = table.domain.unique().tolist()
    share = table.pivot(index="domain", columns="other", values="in_common")
    chance = table.pivot(index="domain", columns="other", values="chance")
    share_GG, chance_GG = (
        of.reindex(index=domains, columns=domains).to_numpy(float) for of in (share, chance)
    )
    hover = [
        [
            ""
            if np.isnan(share_GG[row, column])
            else f"{literal(one)} and {literal(other)}<br><b>{share_GG[row, column]:.0%}</b> in "
            f"common, by chance {chance_GG[row, column]:.0%}"
            for column, other in enumerate(domains)
        ]
        for row, one in enumerate(domains)
    ]
    figure = cell_heatmap(
        share_GG,
        palette,
        rows=[label(name) for name in domains],
        columns=[label(name) for name in domains],
        hover_RC=np.array(hover),
        coloraxis=amount_axis(palette, high=1, title="in common", tickformat=".0%"),
        height=44 * len(domains) + 90,
    )
    shown = np.where(np.isnan(share_GG), "", [[f"{of:.0%}" for of in row] for row in share_GG])
    figure.data[0].update(text=shown, texttemplate="%{text}", textfont={"size": 12})
    return figure


def _hover(row: Any, measure: Measure) -> str:
    lines = [literal(str(row["name"])), f"<b>{measure.text(row['estimate'])}</b>"]
    if span := measure.span(row["low"], row["high"]):
        lines[-1] += f" ({span})"
    known = {"by chance": row["chance"], "best possible": row["bound"]}
    lines += [f"{name} {measure.text(of)}" for name, of in known.items() if pd.notna(of)]
    return "<br>".join([*lines, f"{counted(row['n_groups'], 'group', 'groups')} of texts"])
