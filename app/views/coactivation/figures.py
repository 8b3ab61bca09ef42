"""Which experts are chosen together, and which follow one another, against their nulls.

E = routed experts, S = experts shown, P = pairs a < b.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from analysis.groups import NOT_ENOUGH
from analysis.pair_table import Null, missing_tests
from analysis.significance import MAX_Q
from app.views.shared.heatmap import (
    HEIGHT,
    cell_heatmap,
    crowded,
    frame_rows,
    hatch_cells,
    hover_numbers,
    ratio_axis,
)
from app.views.shared.theme import Palette, literal

SQUARE = 450  # pixels: below its controls, all of it is seen in a window of 900
LIMIT = 3  # log2: from an eighth to eight times
BUSIEST = 64  # whose single cells can be told apart
AT_ONCE = 256  # experts whose pairs are drawn within a second
NULL_NAMES = {"load": "fixed loads", "uniform": "uniform choice"}
SHOWN = ("tokens", "expected", "lift", "low", "high", "z", "q")  # customdata
TESTED = (
    ", %{customdata[2]:.2f}× [%{customdata[3]:.2f}, %{customdata[4]:.2f}], "
    "z %{customdata[5]:.1f}, q %{customdata[6]:.2g}"
)


def busiest(tokens_E: np.ndarray) -> np.ndarray:
    """So many of a layer's experts as are told apart in a heatmap, by number."""
    return np.sort(np.argsort(-tokens_E, kind="stable")[:BUSIEST])


def log_lift(tests: pd.DataFrame, num_experts: int, *, null: Null) -> np.ndarray:
    """log2 lift [E, E] cut at the ends of the scale, where never is; NaN where it is unknown."""
    lift_P = _floats(tests[f"lift_{null}"])
    with np.errstate(divide="ignore"):
        log_P = np.clip(np.log2(lift_P), -LIMIT - 1, LIMIT + 1)
    return _square(tests, log_P, num_experts)


def cluster_order(log_SS: np.ndarray) -> np.ndarray:
    """Places of experts so that those chosen together are neighbours: average linkage by lift."""
    if len(log_SS) < 3:
        return np.arange(len(log_SS))
    distance_SS = LIMIT + 1 - np.nan_to_num(log_SS)
    np.fill_diagonal(distance_SS, 0)
    links = hierarchy.linkage(squareform(distance_SS), "average", optimal_ordering=True)
    return hierarchy.leaves_list(links)


def follow_order(
    lift_EE: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows with similar successors side by side, each column at the row that it follows most."""
    lift_SS = np.nan_to_num(lift_EE[np.ix_(rows, columns)])
    if len(rows) > 2:
        place_S = np.log2(lift_SS.clip(2.0**-LIMIT, 2.0**LIMIT))
        rows_in_order = hierarchy.linkage(place_S, "average", optimal_ordering=True)
        leaves_S = hierarchy.leaves_list(rows_in_order)
        rows, lift_SS = rows[leaves_S], lift_SS[leaves_S]
    return rows, columns[np.argsort(lift_SS.argmax(0), kind="stable")]


def pair_heatmap(
    tests: pd.DataFrame,
    palette: Palette,
    *,
    log_EE: np.ndarray,
    order_S: np.ndarray,
    null: Null,
    only_sure: bool = False,
    marked: int | None = None,
) -> go.Figure:
    """Experts by experts, one of them framed; a dot where q < 0.05, or only these cells are left;
    hatched where there is no test."""
    cells = Cells.of_pairs(tests, len(log_EE), null).chosen(order_S, order_S)
    figure = _cells_heatmap(cells, log_EE[np.ix_(order_S, order_S)], palette, only_sure=only_sure)
    words = "experts %{y} and %{x}: <b>%{customdata[0]:,}</b> tokens"
    expected = f"<br>{NULL_NAMES[null]}: %{{customdata[1]:,.0f}} expected"
    _say(figure, cells, words, expected)
    frame_rows(figure, np.flatnonzero(order_S == marked), len(order_S), palette)
    return _titled(figure, "expert", "expert")


def transition_heatmap(
    tests: pd.DataFrame,
    palette: Palette,
    *,
    rows: np.ndarray,
    columns: np.ndarray,
    layers: tuple[str, str],
    only_sure: bool = False,
) -> go.Figure:
    """Experts of a layer by experts of the next; a dot where q < 0.05, or only these cells are
    left; hatched where there is no test; dead ones stay empty."""
    cells = Cells.of_transitions(tests).chosen(rows, columns)
    with np.errstate(divide="ignore"):
        log_RC = np.clip(np.log2(cells.numbers["lift"]), -LIMIT - 1, LIMIT + 1)
    figure = _cells_heatmap(cells, log_RC, palette, only_sure=only_sure)
    words = "expert %{y}, then %{x}<br><b>%{customdata[0]:,}</b> times"
    _say(figure, cells, words, ", %{customdata[1]:,.0f} expected from the loads alone")
    here, following = map(literal, layers)
    return _titled(figure, f"expert of {following}", f"expert of {here}")


def transition_cells(tests: pd.DataFrame, values_P: pd.Series) -> np.ndarray:
    """A column of transition_significance by expert and next expert; NaN where it is empty."""
    return _floats(values_P).reshape(tests.expert_id.nunique(), -1)


@dataclass(frozen=True, slots=True)
class Cells:
    """Pairs of a row's and a column's expert."""

    rows: np.ndarray
    columns: np.ndarray
    numbers: dict[str, np.ndarray]  # SHOWN [R, C]; NaN where there is none
    reasons: np.ndarray  # why there is no test [R, C]; empty where there is one, or no pair

    @classmethod
    def of_pairs(cls, tests: pd.DataFrame, num_experts: int, null: Null) -> Self:
        numbers = {
            name: _square(tests, _floats(tests[f"{name}_{null}"]), num_experts)
            for name in SHOWN[1:]
        }
        tokens_EE = _square(tests, _floats(tests.tokens), num_experts)
        why_EE = np.full(tokens_EE.shape, "", dtype=object)
        a_P, b_P = tests.expert_a.to_numpy(int), tests.expert_b.to_numpy(int)
        why_EE[a_P, b_P] = why_EE[b_P, a_P] = missing_tests(tests, null).to_numpy(object)
        experts = np.arange(num_experts)
        return cls(experts, experts, {"tokens": tokens_EE} | numbers, why_EE)

    @classmethod
    def of_transitions(cls, tests: pd.DataFrame) -> Self:
        numbers = {name: transition_cells(tests, tests[name]) for name in SHOWN}
        shape = numbers["tokens"].shape
        why_EE = tests.reason.to_numpy(object).reshape(shape)
        return cls(np.arange(shape[0]), np.arange(shape[1]), numbers, why_EE)

    def chosen(self, rows: np.ndarray, columns: np.ndarray) -> Self:
        place = np.ix_(rows, columns)
        numbers = {name: values_EE[place] for name, values_EE in self.numbers.items()}
        return replace(
            self, rows=rows, columns=columns, numbers=numbers, reasons=self.reasons[place]
        )

    @property
    def sure(self) -> np.ndarray:
        return self.numbers["q"] < MAX_Q


def _cells_heatmap(
    cells: Cells, log_RC: np.ndarray, palette: Palette, *, only_sure: bool
) -> go.Figure:
    untested_RC = (cells.reasons != "") & ~np.isnan(log_RC)
    figure = cell_heatmap(
        np.where(cells.sure if only_sure else ~untested_RC, log_RC, np.nan).astype(np.float32),
        palette,
        rows=[str(expert) for expert in cells.rows],
        columns=[str(expert) for expert in cells.columns],
        coloraxis=ratio_axis(palette, limit=LIMIT, title="lift"),
        height=_height(len(cells.rows)),
    )
    hatch_cells(figure, untested_RC & ~np.array(only_sure), palette)
    if not crowded(*log_RC.shape):
        row, column = np.nonzero(cells.sure)
        marker = {"size": 3, "color": palette.text, "opacity": 0.6}
        figure.add_scatter(x=column, y=row, mode="markers", marker=marker, hoverinfo="skip")
    return figure


def _height(num_rows: int) -> int:
    return HEIGHT if num_rows > BUSIEST else min(max(360, 12 * num_rows + 90), SQUARE)


def _say(figure: go.Figure, cells: Cells, words: str, expected: str) -> None:
    """What a cell says: its numbers, or what is known of them and why there is no test."""
    numbers = [*cells.numbers.values()]
    for reason in np.unique(cells.reasons[~np.isnan(cells.numbers["tokens"])]):
        these_RC = (cells.reasons == reason) & ~np.isnan(cells.numbers["tokens"])
        known = np.isfinite(cells.numbers["expected"][these_RC]).all()
        ending = f"<br>{_without_test(reason)}" if reason else TESTED
        named = numbers[:2] if reason else numbers  # what its words name: it is sent for all cells
        hover_numbers(figure, these_RC, named, words + (expected if known else "") + ending)


def _without_test(reason: str) -> str:
    if reason == NOT_ENOUGH:
        return reason
    return f"{NOT_ENOUGH if reason.startswith('fewer') else 'no test'}: {reason}"


def _floats(values_P: pd.Series) -> np.ndarray:
    return values_P.to_numpy(float, na_value=np.nan)


def _square(tests: pd.DataFrame, values_P: np.ndarray, num_experts: int) -> np.ndarray:
    square_EE = np.full((num_experts, num_experts), np.nan)
    a_P, b_P = tests.expert_a.to_numpy(int), tests.expert_b.to_numpy(int)
    square_EE[a_P, b_P] = square_EE[b_P, a_P] = values_P
    return square_EE


def _titled(figure: go.Figure, across: str, down: str) -> go.Figure:
    small = {"tickfont": {"size": 9}, "tickangle": 0}
    figure.update_xaxes(title_text=across, **small)
    figure.update_yaxes(title_text=down, **small)
    return figure
