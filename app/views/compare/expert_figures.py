"""What differs between the experts of two traces: second over first.

L = MoE layers, E = routed experts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.groups import NOT_ENOUGH
from analysis.significance import MAX_Q
from app.views.compare.words import percent, times, times_span
from app.views.shared.heatmap import (
    cell_heatmap,
    dot_sure_cells,
    fill_cells,
    hatch_cells,
    ratio_axis,
)
from app.views.shared.intervals import probability
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, label, literal

LIMIT = 2  # log2: from a quarter to four times
TOP = 90  # pixels
MOST_NAMED = 16  # experts, each with its number below
GONE, CAME = "never chosen in the second", "never chosen in the first"
NEVER = "never chosen in either"


def load_difference_heatmap(
    loads: pd.DataFrame,
    palette: Palette,
    *,
    shape_LE: tuple[int, int],
    only_sure: bool = False,
    names: LayerNames = NUMBERED,
) -> go.Figure:
    """Colour = log2 of an expert's load in the second over that in the first. Dot: q < 0.05, or the
    only cells that are left. Hatched: too few independent texts to say. One colour each: experts
    that the second, the first, or both never choose."""
    cells = _Cells(loads, (loads.layer_id, loads.expert_id), shape_LE)
    hover = [load_text(row, names) for row in loads.itertuples()]
    never = {name: cells.grid(of.to_numpy(), False) for name, of in never_chosen(loads).items()}
    return _heatmap(
        cells,
        never,
        hover,
        palette,
        rows=names.labels(shape_LE[0]),
        only_sure=only_sure,
        title="load",
    )


def lift_difference_heatmap(
    lifts: pd.DataFrame,
    loads: pd.DataFrame,
    palette: Palette,
    *,
    domains: Sequence[str],
    experts: int,
    only_sure: bool = False,
) -> go.Figure:
    """Domains by experts of one layer; marks as of load_difference_heatmap(). loads: those of the
    layer."""
    row = pd.Index(domains).get_indexer(pd.Index(lifts.domain))
    cells = _Cells(lifts, (row, lifts.expert_id), (len(domains), experts))
    hover = [lift_text(row) for row in lifts.itertuples()]
    never = {}
    for name, of in never_chosen(loads).items():
        never[name] = np.zeros(cells.shape, bool)
        never[name][:, loads.expert_id[of]] = True
    rows = [label(domain) for domain in domains]
    return _heatmap(cells, never, hover, palette, rows=rows, only_sure=only_sure, title="lift")


def never_chosen(loads: pd.DataFrame) -> dict[str, pd.Series]:
    """Whether a row is of an expert that the second, the first, or both never choose."""
    first, second = loads["first"] == 0, loads.second == 0
    return {GONE: second & ~first, CAME: first & ~second, NEVER: first & second}


class _Cells:
    """A table in a grid."""

    def __init__(self, table: pd.DataFrame, place: tuple[Any, Any], shape: tuple[int, int]) -> None:
        self._table, self._place, self.shape = table, place, shape

    def grid(self, values: Sequence[Any] | np.ndarray, empty: object) -> np.ndarray:
        filled = np.full(self.shape, empty, dtype=np.asarray(values).dtype)
        filled[self._place] = values
        return filled

    def numbers(self, column: str) -> np.ndarray:
        return self.grid(self._table[column].to_numpy(float), np.nan)

    @property
    def undecided(self) -> np.ndarray:
        return self.grid((self._table.note == NOT_ENOUGH).to_numpy(), False)


def _heatmap(
    cells: _Cells,
    never: Mapping[str, np.ndarray],
    hover: list[str],
    palette: Palette,
    *,
    rows: list[str],
    only_sure: bool,
    title: str,
) -> go.Figure:
    sure = cells.numbers("q") < MAX_Q
    undecided = cells.undecided & ~np.any(list(never.values()), axis=0)
    shown = sure if only_sure else ~undecided
    log = np.clip(cells.numbers("estimate"), -LIMIT - 1, LIMIT + 1)
    figure = cell_heatmap(
        np.where(shown, log, np.nan),
        palette,
        rows=rows,
        columns=[str(place) for place in range(cells.shape[1])],
        hover_RC=cells.grid(np.array(hover, object), ""),
        coloraxis=ratio_axis(palette, limit=LIMIT, title=title),
        height=max(260, 38 * cells.shape[0] + TOP),
    )
    hatch_cells(figure, undecided & ~np.array(only_sure), palette)
    dot_sure_cells(figure, sure, palette)
    figure.update_traces(showlegend=False)
    colors = {GONE: palette.distinct[5], CAME: palette.distinct[3], NEVER: palette.neutral}
    for name, of in never.items():
        _fill(figure, of & (sure | ~np.array(only_sure)), colors[name], name)
    if cells.shape[1] > MOST_NAMED:  # as many numbers as there is room for
        figure.update_xaxes(tickmode="auto", tickvals=None, ticktext=None)
    return figure.update_xaxes(title_text="expert", tickfont={"size": 10}, tickangle=0)


def _fill(figure: go.Figure, cells_RC: np.ndarray, color: str, name: str) -> None:
    """One colour, with its name above the figure; nothing where there are no such cells."""
    if not cells_RC.any():
        return
    fill_cells(figure, cells_RC, color)
    marker = {"symbol": "square", "size": 10, "color": color}
    figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=name)
    figure.update_layout(showlegend=True, margin={"t": 34})


def load_text(row: Any, names: LayerNames = NUMBERED) -> str:
    """All that is known of a cell, one line per fact."""
    lines = [f"{names.hover(row.layer_id)}, expert {row.expert_id}", *_ratio_lines(row)]
    lines.append(
        f"{percent(row.first)} of the choices in the first, {percent(row.second)} in the second"
    )
    return "<br>".join([*lines, f"<i>{row.note}</i>"] if row.note else lines)


def lift_text(row: Any) -> str:
    lines = [f"expert {row.expert_id}, {literal(row.domain)}", *_ratio_lines(row)]
    if not (pd.isna(row.first) or pd.isna(row.second)):
        one, other = times(2**row.first), times(2**row.second)
        lines.append(f"lift {one} in the first, {other} in the second")
    return "<br>".join([*lines, f"<i>{row.note}</i>"] if row.note else lines)


def _ratio_lines(row: Any) -> list[str]:
    lines = []
    if not pd.isna(row.estimate):
        span = "" if pd.isna(row.low) else f" ({times_span(2**row.low, 2**row.high)})"
        lines.append(f"<b>{times(2**row.estimate)}</b>{span}, unchanged 1×")
    if not pd.isna(row.p):
        lines.append(f"p {probability(row.p)}, q {probability(row.q)}")
    return lines
