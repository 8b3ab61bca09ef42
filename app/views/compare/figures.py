"""What differs between two traces, second less first; figures side by side."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.significance import MAX_Q
from app.views.compare.words import minus
from app.views.shared.intervals import MEASURES, Measure, probability
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, frame, label, literal

FEW = 32  # layers or experts whose marks do not touch
DOT = 5  # pixels
ROW, TOP = 34, 90  # pixels
MOST_LABELS = 16  # beside each other in half a window
PER_TOKEN = {
    "experts per token": Measure("experts per token", ".2f"),
    "loss": Measure("loss", ".3f", " nats"),
    "entropy of the gate": Measure("entropy of the gate", ".3f", " nats"),
    "margin of the gate": Measure("margin of the gate", ".4f"),
}


def layer_differences(
    table: pd.DataFrame, palette: Palette, *, metric: str, names: LayerNames = NUMBERED
) -> go.Figure:
    """One figure of every layer, second less first: dot, interval, 0. Filled: q < 0.05."""
    rows, measure = table[table.metric == metric], MEASURES[metric]
    hover = [
        "<br>".join([names.hover(layer_id), *_difference_lines(row, measure)])
        for layer_id, row in zip(rows.layer_id.tolist(), rows.itertuples(), strict=True)
    ]
    figure = _dots(rows, rows.layer_id, palette, hover, few=len(rows) <= FEW)
    frame(figure, palette, height=300, legend=True)
    figure.update_xaxes(**names.axis(len(rows)), showgrid=False)
    percent = {"tickformat": "+.0%"} if measure.form.endswith("%") else {}
    unit = measure.unit and f" ({measure.unit.strip()})"
    return figure.update_yaxes(
        title_text=f"change of {measure.title}{unit}",
        zeroline=True,
        zerolinecolor=palette.muted,
        **percent,
    )


def domain_differences(rows: pd.DataFrame, palette: Palette, *, figure: str) -> go.Figure:
    """Domains from above, second less first: dot, interval, 0. Filled: q < 0.05."""
    measure = PER_TOKEN[figure]
    hover = [
        "<br>".join([literal(domain), *_difference_lines(row, measure)])
        for domain, row in zip(rows.domain.tolist(), rows.itertuples(), strict=True)
    ]
    places = pd.Series(range(len(rows)))
    drawn = _dots(rows, places, palette, hover, few=True, upright=False)
    frame(drawn, palette, height=ROW * len(rows) + TOP + 20, legend=True)
    drawn.update_yaxes(
        tickvals=list(places),
        ticktext=[label(name) for name in rows.domain],
        autorange="reversed",
        showgrid=False,
    )
    return drawn.update_xaxes(
        title_text=f"change of {measure.title}{measure.unit and f' ({measure.unit.strip()})'}",
        zeroline=True,
        zerolinecolor=palette.muted,
    )


def _dots(
    rows: pd.DataFrame,
    places: pd.Series,
    palette: Palette,
    hover: list[str],
    *,
    few: bool,
    upright: bool = True,
) -> go.Figure:
    along, across = ("y", "x") if upright else ("x", "y")
    ends = [(low, high, None) for low, high in zip(rows.low, rows.high, strict=True)]
    span = [None if pd.isna(end) else float(end) for segment in ends for end in segment]
    figure = go.Figure()
    figure.add_scatter(
        **{along: span, across: places.repeat(3)},
        mode="lines",
        name="95 % interval",
        line={"color": palette.neutral, "width": 8 if few else 4},
        hoverinfo="skip",
    )
    for sure, name in ((True, f"changed, q < {MAX_Q}"), (False, "may be the choice of texts")):
        of = ((rows.q < MAX_Q).fillna(False) == sure).to_numpy(bool)
        figure.add_scatter(
            **{along: rows.estimate[of].astype(float), across: places[of]},
            mode="markers",
            name=name,
            marker={
                "size": 9 if few else 5,
                "color": palette.accent if sure else palette.ground,
                "line": {"width": 1.5, "color": palette.accent},
            },
            text=[text for text, shown in zip(hover, of, strict=True) if shown],
            hovertemplate="%{text}<extra></extra>",
        )
    return figure


def _difference_lines(row: Any, measure: Measure) -> list[str]:
    lines = []
    if not pd.isna(row.estimate):
        span = change_span(measure, row.low, row.high)
        lines.append(f"<b>{minus(f'{row.estimate:+{measure.form}}')}{measure.unit}</b>{span}")
    first, second = measure.text(row.first), measure.text(row.second)
    lines.append(f"{first} in the first, {second} in the second")
    if not pd.isna(row.p):
        lines.append(f"p {probability(row.p)}, q {probability(row.q)}")
    return [*lines, f"<i>{row.note}</i>"] if row.note else lines


def change_span(measure: Measure, low: float, high: float) -> str:
    """An interval that may begin below 0, in brackets; empty where there is none."""
    return "" if pd.isna(low) else minus(f" ({low:+{measure.form}} to {high:+{measure.form}})")


def on_one_scale(figures: Sequence[go.Figure]) -> None:
    """Colours and axes of figures of one kind reach equally far, so that they can be compared."""
    bars = [figure.layout.coloraxis for figure in figures]
    if all(bar.cmin is not None and bar.cmax is not None for bar in bars):
        low, high = min(bar.cmin for bar in bars), max(bar.cmax for bar in bars)
        for bar in bars:
            bar.update(cmin=low, cmax=high)
    for axis in ("xaxis", "yaxis"):
        _one_range(figures, axis)


def _one_range(figures: Sequence[go.Figure], axis: str) -> None:
    """Of an axis of numbers that no figure has set."""
    axes = [figure.layout[axis] for figure in figures]
    if any(one.range is not None or one.autorange == "reversed" for one in axes):
        return
    values: list[float] = []
    for trace in (trace for figure in figures for trace in figure.data):
        if trace.type not in ("scatter", "bar"):
            return
        found = [] if trace[axis[0]] is None else list(trace[axis[0]])
        if any(isinstance(value, str) for value in found):
            return
        values += [float(value) for value in found if value is not None and value == value]
        if trace.type == "bar":
            values.append(0.0)
    if values:
        margin = 0.05 * (max(values) - min(values) or 1)
        for one in axes:
            one.range = [min(values) - margin, max(values) + margin]


def beside_another(figure: go.Figure) -> None:
    """Half as wide: as many labels as fit, and dots of many columns small enough to be apart."""
    axis = figure.layout.xaxis
    if axis.nticks:
        axis.nticks = min(axis.nticks, MOST_LABELS)
    if axis.tickvals is not None and len(axis.tickvals) > MOST_LABELS:
        step = ceil(len(axis.tickvals) / MOST_LABELS)
        axis.update(tickvals=axis.tickvals[::step], ticktext=axis.ticktext[::step])
    columns = max((len(of.z[0]) for of in figure.data if of.type == "heatmap"), default=0)
    if columns > FEW:
        small = {"size": 2, "line": {"width": 0}}
        figure.update_traces(marker=small, selector=_is_dots)


def _is_dots(trace: Any) -> bool:
    """Those of dot_cells()."""
    return trace.type == "scatter" and trace.mode == "markers" and trace.marker.size == DOT
