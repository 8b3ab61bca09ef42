"""How often a token is routed otherwise in another trace, and which experts correspond.

L = MoE layers, E and F = experts of a layer of the first and the second model.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.groups import MIN_EFFECTIVE
from analysis.matching.experts import UNMATCHED, LayerMatch
from app.views.compare.words import percent, span
from app.views.shared.heatmap import cell_heatmap, dot_sure_cells, hover_numbers, similarity_axis
from app.views.shared.intervals import MOST_APART
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, domain_colors, frame, literal
from data.words import counted

FAR = 3  # times the highest mark: a null beyond is said, and not drawn
UNRELATED = "unrelated routers"


def by_layer(
    rows: pd.DataFrame, palette: Palette, *, title: str, names: LayerNames = NUMBERED
) -> go.Figure:
    """One figure of a flip_table by layer: a dot as counted, a bar for its interval, a tick for
    unrelated routers where that is near."""
    few = len(rows) <= MOST_APART
    figure = go.Figure()
    _add_intervals(figure, rows.layer_id, rows, palette, wide=8 if few else 4)
    highest = float(rows[["estimate", "high"]].max().max())
    near = rows.unrelated.max() <= FAR * highest
    if near:
        line = {"width": 2, "color": palette.muted}
        figure.add_scatter(
            x=rows.layer_id,
            y=rows.unrelated,
            mode="markers",
            name=UNRELATED,
            marker={"symbol": "line-ew", "size": 18 if few else 7, "line": line},
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=rows.layer_id,
        y=rows.estimate,
        mode="markers",
        name="as counted",
        marker={
            "size": 9 if few else 5,
            "color": palette.accent,
            "line": {"width": 1.5, "color": palette.ground},
        },
        text=[
            _hover(row, names.hover(layer_id))
            for row, layer_id in zip(rows.itertuples(), rows.layer_id.tolist(), strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
    )
    frame(figure, palette, height=300, legend=True)
    if not near:
        _say_null(figure, rows.unrelated, palette)
    figure.update_xaxes(**names.axis(len(rows)), showgrid=False)
    return figure.update_yaxes(
        title_text=title, tickformat=_ticks(highest), range=_range(highest, rows, near=near)
    )


def by_group(rows: pd.DataFrame, palette: Palette, *, title: str) -> go.Figure:
    """One figure of a flip_table by domain and phase, a row each, the first on top."""
    labels = rows.domain.fillna(rows.phase).tolist()
    colors = domain_colors(rows.domain.dropna().tolist(), palette)
    place = list(range(len(rows)))
    figure = go.Figure()
    _add_intervals(figure, place, rows, palette, wide=8, across=True)
    figure.add_scatter(
        x=rows.estimate,
        y=place,
        mode="markers",
        marker={
            "size": 10,
            "color": [colors.get(label, palette.accent) for label in labels],
            "line": {"width": 1.5, "color": palette.ground},
        },
        text=[
            _hover(row, literal(label))
            for row, label in zip(rows.itertuples(), labels, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
    )
    frame(figure, palette, height=60 + 34 * len(rows))
    highest = float(rows[["estimate", "high"]].max().max())
    figure.update_xaxes(
        title_text=title, tickformat=_ticks(highest), range=_range(highest, rows, near=False)
    )
    return figure.update_yaxes(
        tickvals=place,
        ticktext=[literal(label) for label in labels],
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
    )


def by_margin(table: pd.DataFrame, palette: Palette, *, level: float) -> go.Figure:
    """A flips_by_margin: the flip rate over the margin, above how many decisions have it; none of
    margins that few groups of texts have."""
    low = np.where(table.above > 0, table.above, table.up_to / np.sqrt(10))
    high = np.where(np.isfinite(table.up_to), table.up_to, table.above * np.sqrt(10))
    middle = np.sqrt(low * high)
    figure = go.Figure()
    figure.add_bar(
        x=middle,
        y=table.share,
        width=high - low,
        offset=low - middle,
        name="share of decisions",
        marker={"color": palette.grid, "line": {"width": 1, "color": palette.ground}},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=middle,
        y=table.unrelated,
        mode="lines",
        name=UNRELATED,
        line={"width": 1.5, "dash": "dot", "color": palette.muted},
        hoverinfo="skip",
    )
    _add_intervals(figure, middle, table, palette, wide=8)
    figure.add_scatter(
        x=middle,
        y=table.estimate.where(table.n_groups >= MIN_EFFECTIVE),
        mode="lines+markers",
        name="flip rate",
        line={"width": 1.5, "color": palette.accent},
        marker={"size": 8, "line": {"width": 1.5, "color": palette.ground}},
        text=[_hover(row, _bin(row)) + _share(row) for row in table.itertuples()],
        hovertemplate="%{text}<extra></extra>",
    )
    frame(figure, palette, height=320, legend=True)
    ends = [low.min(), high.max()]
    if level > 0:
        _mark_level(figure, level, palette)
        ends = [min(ends[0], level / 2), max(ends[1], level * 2)]
    figure.update_xaxes(
        type="log",
        range=np.log10(ends).tolist(),
        exponentformat="power",
        dtick=1,
        title_text="margin in the first trace",
    )
    return figure.update_yaxes(range=[0, 1.04], tickformat=".0%")


def match_map(match: LayerMatch, palette: Palette, *, names: tuple[str, str]) -> go.Figure:
    """The similarity of every two experts of a layer. The second's stand in the order of those of
    the first that they are assigned to, and a dot is on those that are matched."""
    num_experts, others = match.similarity_EF.shape
    assigned = match.partner_E[match.partner_E != UNMATCHED]
    order = np.append(assigned, np.setdiff1d(np.arange(others), assigned)).astype(int)
    values = match.similarity_EF[:, order]
    figure = cell_heatmap(
        values,
        palette,
        rows=[str(expert) for expert in range(num_experts)],
        columns=[str(expert) for expert in order],
        coloraxis=similarity_axis(palette, null=0, limit=_limit(values)),
        height=110 + 9 * num_experts,
    )
    is_match = match.other_E[:, None] == order
    dot_sure_cells(figure, is_match, palette)
    template = f"expert %{{y}} of {literal(names[0])}, %{{x}} of {literal(names[1])}"
    template += "<br>similarity %{customdata[0]:.3f}"
    if not np.isnan(match.chance):
        template += f", chance {match.chance:.3f}"
    hover_numbers(figure, ~np.isnan(values), [np.nan_to_num(values)], template)
    figure.update_xaxes(title_text=f"expert of {literal(names[1])}", tickfont={"size": 10})
    return figure.update_yaxes(title_text=f"expert of {literal(names[0])}", tickfont={"size": 10})


def _limit(similarity_EF: np.ndarray) -> float:
    """Of the colours: the largest there is, but no noise in strong ones."""
    return max(0.25, float(np.nan_to_num(np.abs(similarity_EF)).max(initial=0)))


def _add_intervals(
    figure: go.Figure,
    at: Sequence[float] | np.ndarray | pd.Series,
    rows: pd.DataFrame,
    palette: Palette,
    *,
    wide: int,
    across: bool = False,
) -> None:
    ends = [
        None if pd.isna(end) else float(end)
        for low, high in zip(rows.low, rows.high, strict=True)
        for end in (low, high, None)
    ]
    places = np.repeat(np.asarray(at, float), 3)
    figure.add_scatter(
        x=ends if across else places,
        y=places if across else ends,
        mode="lines",
        name="95 % interval",
        line={"color": palette.neutral, "width": wide},
        hoverinfo="skip",
    )


def _say_null(figure: go.Figure, unrelated: pd.Series, palette: Palette) -> None:
    if unrelated.isna().all():
        return
    low, high = percent(unrelated.min()), percent(unrelated.max())
    said = low if low == high else f"{low} to {high}"
    figure.add_annotation(
        text=f"{UNRELATED}: {said} ↑",
        xref="paper",
        yref="paper",
        x=1,
        y=1,
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
        font={"size": 12, "color": palette.muted},
    )


def _mark_level(figure: go.Figure, level: float, palette: Palette) -> None:
    line = {"width": 1, "dash": "dash", "color": palette.text}
    figure.add_shape(type="line", x0=level, x1=level, y0=0, y1=1, yref="paper", line=line)
    figure.add_annotation(
        x=float(np.log10(level)),  # of a logarithmic axis
        y=0.5,
        yref="paper",
        text="rounding",
        textangle=-90,
        xanchor="right",
        showarrow=False,
        font={"size": 12, "color": palette.text},
    )


def _range(highest: float, rows: pd.DataFrame, *, near: bool) -> list[float]:
    """From a little below 0, so that a mark at 0 is whole."""
    top = max(highest, float(rows.unrelated.max()) if near else 0) or 1
    return [-0.03 * top, 1.08 * top]


def _hover(row: Any, title: str) -> str:
    lines = [title, f"<b>{percent(row.estimate)}</b>"]
    if not pd.isna(row.low):
        lines[-1] += f" ({span(row.low, row.high)})"
    if not pd.isna(row.unrelated):
        lines.append(f"{UNRELATED} {percent(row.unrelated)}")
    lines.append(f"of {row.n:,} in {counted(row.n_groups, 'group', 'groups')}")
    return "<br>".join(lines)


def _bin(row: Any) -> str:
    if not row.above:
        return f"margin up to {row.up_to:.1g}"
    if np.isinf(row.up_to):
        return f"margin above {row.above:.1g}"
    return f"margin {row.above:.1g} to {row.up_to:.1g}"


def _share(row: Any) -> str:
    return f"<br>{percent(row.share)} of all decisions"


def _ticks(highest: float) -> str:
    return ".0%" if highest > 0.05 else ".1%" if highest > 0.005 else ".2%"
