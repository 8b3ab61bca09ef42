"""A heatmap whose cells can be clicked.

Plotly reports no clicks on a heatmap, so invisible marks lie on its cells: they carry hover text,
and the cell's column and row as x and y. R = rows, C = columns.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.views.shared.theme import Palette, frame, scale

RATIOS = {-3: "⅛×", -2: "¼×", -1: "½×", 0: "1×", 1: "2×", 2: "4×", 3: "8×", 4: "16×"}


def cell_heatmap(
    values_RC: np.ndarray,
    palette: Palette,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    hover_RC: np.ndarray,
    coloraxis: dict,
    height: int,
) -> go.Figure:
    """NaN cells stay empty, and without hover text they cannot be clicked. Labels must be escaped
    already; axes are positions."""
    num_rows, num_columns = values_RC.shape
    row, column = np.nonzero(hover_RC != "")
    gap = 1 if values_RC.size <= 5000 else 0
    figure = go.Figure(
        [
            go.Heatmap(z=values_RC, coloraxis="coloraxis", hoverinfo="skip", xgap=gap, ygap=gap),
            go.Scatter(
                x=column,
                y=row,
                mode="markers",
                marker={"opacity": 0, "size": 18, "color": palette.accent},
                text=hover_RC[row, column],
                hovertemplate="%{text}<extra></extra>",
            ),
        ]
    )
    frame(figure, palette, height=height)
    figure.update_layout(
        coloraxis=coloraxis, dragmode="zoom", hovermode="closest", hoverdistance=40
    )
    figure.update_xaxes(**_ticks(columns), range=[-0.5, num_columns - 0.5], showgrid=False)
    figure.update_yaxes(**_ticks(rows), range=[num_rows - 0.5, -0.5], showgrid=False)
    figure.update_xaxes(zeroline=False, fixedrange=True)
    figure.update_yaxes(zeroline=False, fixedrange=True)
    return figure


def dot_cells(figure: go.Figure, cells_RC: np.ndarray, palette: Palette) -> None:
    """A dot on each of these cells, seen on every colour of the scale."""
    row, column = np.nonzero(cells_RC)
    figure.add_scatter(
        x=column,
        y=row,
        mode="markers",
        marker={"size": 5, "color": palette.text, "line": {"width": 1, "color": palette.ground}},
        unselected={"marker": {"opacity": 1}},
        hoverinfo="skip",
    )


def hatch_cells(figure: go.Figure, cells_RC: np.ndarray, palette: Palette) -> None:
    """Lines instead of a colour: a heatmap has no pattern, a bar over its cell has."""
    row, column = np.nonzero(cells_RC)
    pattern = {"shape": "/", "size": 6, "solidity": 0.22, "fgcolor": palette.muted}
    figure.add_bar(
        x=column,
        y=np.ones(len(row)),
        base=row - 0.5,
        width=1,
        marker={
            "pattern": pattern | {"bgcolor": palette.ground},
            "line": {"width": 1, "color": palette.ground},
        },
        unselected={"marker": {"opacity": 1}},
        hoverinfo="skip",
    )
    figure.update_layout(barmode="overlay")


def ratio_axis(palette: Palette, *, limit: int, title: str) -> dict:
    """Colours of a log2 ratio: the same limits on every page that shows it, 1x in the middle."""
    ticks = list(range(-limit, limit + 1))
    text = [RATIOS[tick] for tick in ticks]
    text[0], text[-1] = f"≤ {text[0]}", f"≥ {text[-1]}"
    bar = _bar(palette, title) | {"tickvals": ticks, "ticktext": text}
    return {"colorscale": scale(palette.diverging), "cmin": -limit, "cmax": limit, "colorbar": bar}


def amount_axis(palette: Palette, *, high: float, title: str, tickformat: str) -> dict:
    """Colours of an amount from 0."""
    bar = _bar(palette, title) | {"tickformat": tickformat}
    return {"colorscale": scale(palette.sequential), "cmin": 0, "cmax": high, "colorbar": bar}


def span_axis(palette: Palette, *, low: float, high: float, title: str) -> dict:
    """Colours of an amount whose 0 is far off: from the least to the most there is."""
    bar = _bar(palette, title)
    limits = {"cmin": low, "cmax": max(high, low + 1)}
    return {"colorscale": scale(palette.sequential), **limits, "colorbar": bar}


def similarity_axis(palette: Palette, *, null: float, limit: float) -> dict:
    """Colours of a similarity as far as `limit` from the null, which is in the middle."""
    bar = _bar(palette, "similarity")
    return {
        "colorscale": scale(palette.diverging),
        "cmin": null - limit,
        "cmax": null + limit,
        "colorbar": bar,
    }


def _bar(palette: Palette, title: str) -> dict:
    return {
        "thickness": 10,
        "len": 1,
        "outlinewidth": 0,
        "ticks": "",
        "tickfont": {"color": palette.muted, "size": 12},
        "title": {"text": title, "side": "top", "font": {"color": palette.muted, "size": 12}},
    }


def _ticks(labels: Sequence[str]) -> dict:
    step = max(1, round(len(labels) / 64))
    places = list(range(0, len(labels), step))
    return {"tickvals": places, "ticktext": [labels[place] for place in places], "ticks": ""}
