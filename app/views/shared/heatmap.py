"""A heatmap whose cells can be clicked.

Plotly reports no clicks on a heatmap, so invisible marks lie on its cells: they carry hover text,
and the cell's column and row as x and y. R = rows, C = columns.

A heatmap always fits the window. One that is crowded has no room for a dot on a cell: instead the
page offers to leave only the cells that would have one. It can be zoomed, and its marks are empty
texts: of markers closer than a few pixels Plotly finds the wrong one, and they take longer to draw.
"""

from collections.abc import Iterable, Sequence
from math import ceil, hypot

import numpy as np
import plotly.graph_objects as go

from app.views.shared.theme import Palette, frame, scale, shade

RATIOS = {-3: "⅛×", -2: "¼×", -1: "½×", 0: "1×", 1: "2×", 2: "4×", 3: "8×", 4: "16×"}
MOST_DOTTED, MOST_COLUMNS = 2_500, 128  # cells, and columns, on which dots are told apart
HEIGHT, WIDTH = 540, 1_100  # pixels: the most, and about the most, that a figure has
CLEAR = "rgba(0,0,0,0)"
MARK = 6  # pixels: within half of it Plotly takes any point for the nearest


def crowded(num_rows: int, num_columns: int) -> bool:
    """Dots would touch one another."""
    return num_rows * num_columns > MOST_DOTTED or num_columns > MOST_COLUMNS


ZOOM = " Draw a rectangle to zoom, double-click to see everything."  # of a crowded figure


def sure_mark(*, crowded: bool) -> str:
    """How the cells of q < 0.05 are told from others, at the beginning of a note's sentence."""
    return "Left by the switch" if crowded else "Dot"


def cell_heatmap(
    values_RC: np.ndarray,
    palette: Palette,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    coloraxis: dict,
    height: int,
    hover_RC: np.ndarray | None = None,
) -> go.Figure:
    """NaN cells stay empty, and without hover text they cannot be clicked. Labels must be escaped
    already; axes are positions."""
    num_rows, num_columns = values_RC.shape
    height, many = min(height, HEIGHT), crowded(num_rows, num_columns)
    gap = 0 if many else 1
    cells = go.Heatmap(z=values_RC, coloraxis="coloraxis", hoverinfo="skip", xgap=gap, ygap=gap)
    figure = frame(go.Figure(cells), palette, height=height)
    if hover_RC is not None:
        row, column = np.nonzero(hover_RC != "")
        figure.add_trace((_empty_texts if many else _points)(row, column, hover_RC[row, column]))
    figure.update_layout(coloraxis=coloraxis, dragmode="zoom", hovermode="closest")
    reach = 100 if many else ceil(hypot(WIDTH / num_columns, height / num_rows) / 2)
    figure.update_layout(hoverdistance=reach)
    figure.update_layout(barmode="overlay", uirevision=f"{num_rows} x {num_columns}")  # the zoom
    ticks = _zoomed_ticks if many else _ticks
    most = WIDTH // (8 + 8 * max(map(len, columns), default=1))  # labels beside each other
    figure.update_xaxes(**ticks(columns, most=most), range=[-0.5, num_columns - 0.5])
    figure.update_yaxes(**ticks(rows, most=height // 14), range=[num_rows - 0.5, -0.5])
    figure.update_xaxes(showgrid=False, zeroline=False, fixedrange=not many)
    figure.update_yaxes(showgrid=False, zeroline=False, fixedrange=not many)
    return figure


def _points(row: np.ndarray, column: np.ndarray, hover: np.ndarray) -> go.Scatter:
    return go.Scatter(
        x=column,
        y=row,
        mode="markers",
        marker={"opacity": 0, "size": MARK},
        text=hover,
        hovertemplate="%{text}<extra></extra>",
    )


def _empty_texts(row: np.ndarray, column: np.ndarray, hover: np.ndarray) -> go.Scatter:
    return go.Scatter(
        x=column,
        y=row,
        mode="text",
        marker={"maxdisplayed": 1},  # found by the pointer, and not drawn
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def hover_on_cells(figure: go.Figure) -> None:
    """Where nothing is clicked the cells carry their own text, and no mark lies on them."""
    cells, marks, *rest = figure.data
    hover = marks.hovertext if marks.text is None else marks.text
    text = np.reshape(hover, np.shape(cells.z))
    cells.update(text=text, hoverinfo=None, hovertemplate="%{text}<extra></extra>")
    figure.data = (cells, *rest)


def hover_numbers(
    figure: go.Figure, cells_RC: np.ndarray, numbers: Sequence[np.ndarray], template: str
) -> None:
    """What these cells say when they are pointed at, in numbers [R, C] that the template calls
    customdata[0], ...; %{y} and %{x} are the labels of the row and the column. Of ten thousands of
    cells they have a tenth of the size of texts."""
    row, column = np.nonzero(cells_RC)
    figure.add_scatter(
        x=column.astype(np.int16),
        y=row.astype(np.int16),
        mode="text",
        marker={"maxdisplayed": 1},  # found by the pointer, and not drawn
        customdata=np.stack([values[cells_RC] for values in numbers], -1).astype(np.float32),
        hovertemplate=f"{template}<extra></extra>",
    )


def dot_sure_cells(figure: go.Figure, sure_RC: np.ndarray, palette: Palette) -> None:
    """A dot on each of these cells, unless they are crowded."""
    if not crowded(*sure_RC.shape):
        dot_cells(figure, sure_RC, palette)


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


def fill_cells(figure: go.Figure, cells_RC: np.ndarray, color: str) -> None:
    """One colour, whatever their values."""
    figure.add_heatmap(
        z=np.where(cells_RC, 1, np.nan).astype(np.float32),
        zmin=0,
        zmax=1,
        colorscale=[[0, color], [1, color]],
        showscale=False,
        hoverinfo="skip",
    )


def hatch_cells(figure: go.Figure, cells_RC: np.ndarray, palette: Palette) -> None:
    """Lines instead of a colour: a heatmap has no pattern, a bar over its cell has. Crowded cells
    are grey."""
    if crowded(*cells_RC.shape):
        fill_cells(figure, cells_RC, shade((palette.grid, palette.neutral), 0.35))
        return
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


def frame_columns(
    figure: go.Figure, places: Iterable[int], num_rows: int, palette: Palette
) -> None:
    """What is selected."""
    for place in places:
        _frame(figure, palette, x=(place, place), y=(0, num_rows - 1))


def frame_rows(
    figure: go.Figure, places: Iterable[int], num_columns: int, palette: Palette
) -> None:
    for place in places:
        _frame(figure, palette, x=(0, num_columns - 1), y=(place, place))


def _frame(figure: go.Figure, palette: Palette, *, x: tuple[int, int], y: tuple[int, int]) -> None:
    figure.add_shape(
        type="rect",
        x0=x[0] - 0.5,
        x1=x[1] + 0.5,
        y0=y[0] - 0.5,
        y1=y[1] + 0.5,
        line={"color": palette.text, "width": 2},
    )


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


def _ticks(labels: Sequence[str], *, most: int) -> dict:
    step = ceil(len(labels) / most)
    places = list(range(0, len(labels), step))
    shown = {"tickvals": places, "ticktext": [labels[place] for place in places], "ticks": ""}
    return shown | {"labelalias": _names(labels)}  # what hover text calls the others


def _zoomed_ticks(labels: Sequence[str], *, most: int) -> dict:
    """As many as there is room for, whatever part is shown; none between two cells."""
    if len(labels) <= most:
        return _ticks(labels, most=most)
    between = {f"{place}.5": "" for place in range(len(labels))} | {"\N{MINUS SIGN}0.5": ""}
    return {"labelalias": _names(labels) | between, "nticks": min(most, 40), "ticks": ""}


def _names(labels: Sequence[str]) -> dict[str, str]:
    return {str(place): label for place, label in enumerate(labels)}
