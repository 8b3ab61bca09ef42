"""Which experts are chosen together, and which follow one another, against their nulls.

E = routed experts, S = experts shown, P = pairs a < b.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from analysis.groups import NOT_ENOUGH
from analysis.significance import MAX_Q
from app.views.shared.heatmap import (
    cell_heatmap,
    crowded,
    hatch_cells,
    hover_on_cells,
    ratio_axis,
)
from app.views.shared.theme import Palette, literal

SQUARE = 450  # pixels: below its controls, all of it is seen in a window of 900
LIMIT = 3  # log2: from an eighth to eight times
MAX_SHOWN = 64
NULL_NAMES = {"load": "fixed loads", "uniform": "k of E"}


def most_active(tokens_E: np.ndarray) -> np.ndarray:
    """The experts that fit in a heatmap, by number."""
    return np.sort(np.argsort(-tokens_E, kind="stable")[:MAX_SHOWN])


def log_lift(tests: pd.DataFrame, num_experts: int, *, null: str) -> np.ndarray:
    """log2 lift [E, E] cut at the ends of the scale, where never is; NaN where it is unknown."""
    lift_P = tests[f"lift_{null}"].to_numpy(float, na_value=np.nan)
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
    null: str,
    only_sure: bool = False,
) -> go.Figure:
    """Experts by experts; a dot where q < 0.05, or only these cells are left; hatched where there
    is no test."""
    names = [str(expert) for expert in order_S]
    place = np.ix_(order_S, order_S)
    q_EE = _square(tests, tests[f"q_{null}"].to_numpy(float, na_value=np.nan), len(log_EE))[place]
    untested_EE = np.isnan(q_EE) & ~np.eye(len(order_S), dtype=bool)
    figure = cell_heatmap(
        np.where(q_EE < MAX_Q if only_sure else ~untested_EE, log_EE[place], np.nan),
        palette,
        rows=names,
        columns=names,
        hover_RC=_pair_hover(tests, order_S),
        coloraxis=ratio_axis(palette, limit=LIMIT, title="lift"),
        height=min(max(360, 12 * len(order_S) + 90), SQUARE),
    )
    hatch_cells(figure, untested_EE & ~np.array(only_sure), palette)
    _dots(figure, q_EE < MAX_Q, palette)
    return _with_cell_text(figure, "expert", "expert")


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
    place = np.ix_(rows, columns)
    with np.errstate(divide="ignore"):
        log_EE = np.log2(transition_cells(tests, tests.lift))
    log_SS = np.clip(log_EE, -LIMIT - 1, LIMIT + 1)[place]
    q_SS = transition_cells(tests, tests.q)[place]
    untested_SS = np.isnan(q_SS) & ~np.isnan(log_SS)
    shown = tests.iloc[np.add.outer(rows * log_EE.shape[1], columns).ravel()]
    hover = [_transition_hover(row) for row in shown.to_dict("records")]
    figure = cell_heatmap(
        np.where(q_SS < MAX_Q if only_sure else ~untested_SS, log_SS, np.nan),
        palette,
        rows=[str(expert) for expert in rows],
        columns=[str(expert) for expert in columns],
        hover_RC=np.reshape(hover, log_SS.shape),
        coloraxis=ratio_axis(palette, limit=LIMIT, title="lift"),
        height=min(max(360, 12 * len(rows) + 90), SQUARE),
    )
    hatch_cells(figure, untested_SS & ~np.array(only_sure), palette)
    _dots(figure, q_SS < MAX_Q, palette)
    here, following = map(literal, layers)
    return _with_cell_text(figure, f"expert of {following}", f"expert of {here}")


def transition_cells(tests: pd.DataFrame, values_P: pd.Series) -> np.ndarray:
    """A column of transition_significance by expert and next expert; NaN where it is empty."""
    return values_P.to_numpy(float, na_value=np.nan).reshape(tests.expert_id.nunique(), -1)


def _transition_hover(row: dict) -> str:
    first = f"expert {row['expert_id']}, then {row['next_expert_id']}<br><b>{row['tokens']:,}</b>"
    lines = [f"{first} times, {row['expected']:,.0f} expected from the loads alone"]
    if pd.notna(row["lift"]):
        lines[0] += f", {row['lift']:.2f}×"
    if pd.notna(row["z"]):
        span = f"[{row['low']:.2f}, {row['high']:.2f}]"
        lines.append(f"{span}, z {row['z']:.1f}, p {row['p']:.2g}, q {row['q']:.2g}")
    return "<br>".join([*lines, *_without_test(row["reason"])])


def _without_test(reason: str) -> list[str]:
    if reason in ("", NOT_ENOUGH):
        return [reason] if reason else []
    return [f"{NOT_ENOUGH if reason.startswith('fewer') else 'no test'}: {reason}"]


def _square(tests: pd.DataFrame, values_P: np.ndarray, num_experts: int) -> np.ndarray:
    square_EE = np.full((num_experts, num_experts), np.nan)
    a_P, b_P = tests.expert_a.to_numpy(int), tests.expert_b.to_numpy(int)
    square_EE[a_P, b_P] = square_EE[b_P, a_P] = values_P
    return square_EE


def _pair_hover(tests: pd.DataFrame, order_S: np.ndarray) -> np.ndarray:
    """Of the experts shown, in their order."""
    hover_SS = np.array([[f"expert {a}" for a in order_S]] * len(order_S), dtype=object)
    place = {int(expert): place for place, expert in enumerate(order_S)}
    shown = tests[tests.expert_a.isin(order_S) & tests.expert_b.isin(order_S)]
    for row in shown.to_dict("records"):
        lines = [
            f"experts {row['expert_a']} and {row['expert_b']}: <b>{row['tokens']:,}</b> tokens"
        ]
        lines += [_against(row, null) for null in NULL_NAMES if pd.notna(row[f"expected_{null}"])]
        lines += _without_test(row["reason"])
        a, b = place[row["expert_a"]], place[row["expert_b"]]
        hover_SS[a, b] = hover_SS[b, a] = "<br>".join(lines)
    return hover_SS


def _against(row: dict, null: str) -> str:
    text = f"{NULL_NAMES[null]}: {row[f'expected_{null}']:,.0f} expected"
    if pd.notna(row[f"lift_{null}"]):
        text += f", {row[f'lift_{null}']:.2f}×"
    if pd.notna(row[f"z_{null}"]):
        text += f" [{row[f'low_{null}']:.2f}, {row[f'high_{null}']:.2f}]"
        text += f", z {row[f'z_{null}']:.1f}, q {row[f'q_{null}']:.2g}"
    return text


def _dots(figure: go.Figure, where_RC: np.ndarray, palette: Palette) -> None:
    if crowded(*where_RC.shape):
        return
    row, column = np.nonzero(where_RC)
    marker = {"size": 3, "color": palette.text, "opacity": 0.6}
    marks = go.Scatter(x=column, y=row, mode="markers", marker=marker, hoverinfo="skip")
    figure.add_trace(marks)


def _with_cell_text(figure: go.Figure, across: str, down: str) -> go.Figure:
    hover_on_cells(figure)
    small = {"tickfont": {"size": 9}, "tickangle": 0}
    figure.update_xaxes(title_text=across, **small)
    figure.update_yaxes(title_text=down, **small)
    return figure
