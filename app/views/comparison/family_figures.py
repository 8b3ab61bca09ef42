"""Small multiples: a column a model, a row a measure, in each the MoE layers from first to last."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.domain_counts import ALL_LAYERS
from app.views.shared.intervals import MEASURES, Measure
from app.views.shared.theme import Palette, domain_colors, frame, literal
from data.labels import NONE, TOO_LITTLE

HEAD, TITLE, PANEL, GAP, FOOT = 52, 42, 108, 16, 44  # pixels, from the top
BETWEEN = 0.045  # of the width, from column to column
JITTER = 0.36  # of a layer, to both sides
CORNER: dict[str, Any] = {  # of a cell, above and on the left
    "x": 0,
    "y": 1,
    "xref": "x domain",
    "yref": "y domain",
    "xanchor": "left",
    "showarrow": False,
}
GOLDEN = 0.618034  # multiples of it spread evenly


@dataclass(frozen=True, slots=True)
class Row:
    """A measure as the grid shows it."""

    name: str  # in the tables
    title: str
    measure: Measure
    null: str  # what its tick is

    def text(self, one: Any) -> str:
        """The estimate of a row of Families.measures."""
        return self.measure.text(one.estimate)

    def beside(self, one: Any) -> str:
        """Its interval in brackets, then what chance or balance would give."""
        span = self.measure.span(one.low, one.high)
        return f"{span and f' ({span})'}, {self.null} {self.measure.short(one.null)}"


@dataclass(frozen=True, slots=True)
class Tables:
    """Those of one model."""

    measures: pd.DataFrame
    domains: pd.DataFrame
    lifts: pd.DataFrame


ROWS = (
    Row("preferring", "Experts that prefer a domain", Measure("", ".0%"), "shuffled"),
    Row("lifts", "Highest lift of every expert", Measure("", ".1f", "×"), ""),
    Row(
        "information_share",
        "Information of a choice about the domain",
        MEASURES["information_share"],
        "shuffled",
    ),
    Row("max_violation", "Load imbalance, MaxVio", MEASURES["max_violation"], "balanced"),
    Row("gate_entropy", "Entropy of the gate", Measure("", ".0%"), "undecided"),
)


def specialization_grid(
    heads: dict[str, tuple[str, str]],
    measures: pd.DataFrame,
    domains: pd.DataFrame,
    lifts: pd.DataFrame,
    palette: Palette,
) -> go.Figure:
    """`heads`: two lines over the column of each model; the tables as of Families."""
    height = HEAD + len(ROWS) * (TITLE + PANEL) + (len(ROWS) - 1) * GAP + FOOT
    figure = make_subplots(
        rows=len(ROWS),
        cols=len(heads),
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=BETWEEN,
    )
    frame(figure, palette, height=height)
    figure.update_layout(margin={"t": 0, "b": 0, "l": 44, "r": 4}, barmode="stack", bargap=0.3)
    for place, row in enumerate(ROWS, start=1):
        top = HEAD + place * TITLE + (place - 1) * (PANEL + GAP)
        span = [1 - (top + PANEL) / height, 1 - top / height]
        figure.update_yaxes(domain=span, row=place, **_scale(row, measures, lifts))
        _title(figure, row, palette, y=1 - (top - TITLE) / height)
        for column, (model, head) in enumerate(heads.items(), start=1):
            of = Tables(*(table[table.model == model] for table in (measures, domains, lifts)))
            at = {"row": place, "col": column}
            for drawn in _cell(row, of, palette):
                figure.add_trace(drawn, **at)
            figure.add_annotation(text=_mean(row, of), **CORNER, yanchor="bottom", **at)
            if place == 1:
                text = f"<b>{literal(head[0])}</b><br>{literal(head[1])}"
                shift = {"yanchor": "top", "yshift": HEAD + TITLE}
                figure.add_annotation(text=text, align="left", **CORNER, **shift, **at)
    last = int(measures.layer_id.max())
    figure.update_xaxes(dtick=1, showgrid=False, zeroline=False, range=[-0.6, last + 0.6])
    return figure.update_xaxes(title_text="MoE layer", row=len(ROWS))


def _title(figure: go.Figure, row: Row, palette: Palette, *, y: float) -> None:
    figure.add_annotation(
        text=f"<b>{row.title}</b>",
        x=0,
        y=y,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="top",
        showarrow=False,
        font={"color": palette.muted},
    )


def _scale(row: Row, measures: pd.DataFrame, lifts: pd.DataFrame) -> dict[str, Any]:
    """The axis that all cells of a row share."""
    if row.name == "lifts":
        ends = np.log10([lifts.lift.min() / 1.1, lifts.lift.max() * 1.1]).tolist()
        return {"type": "log", "range": ends, "tickvals": [1, 2, 4, 8, 16], "ticksuffix": "×"}
    rows = measures[measures.measure == row.name]
    top = 1.06 * float(np.nanmax(rows[["estimate", "high", "null"]].to_numpy(float)))
    percent = {"tickformat": ".0%"} if row.measure.form.endswith("%") else {}
    return {"range": [0, top], "nticks": 4, "zeroline": False, **percent}


def _cell(row: Row, of: Tables, palette: Palette) -> list[go.Bar | go.Scatter]:
    if row.name == "lifts":
        return [_points(of.lifts, palette)]
    rows = of.measures[(of.measures.measure == row.name) & (of.measures.layer_id != ALL_LAYERS)]
    if row.name != "preferring":
        return [
            _interval(rows, palette.neutral, 7),
            _dots(rows, row, palette),
            _ticks(rows, row, palette.muted, size=16),
        ]
    bars = _bars(of.domains[of.domains.layer_id != ALL_LAYERS], palette)
    return [*bars, _interval(rows, palette.text, 2), _ticks(rows, row, palette.text, size=24)]


def _bars(domains: pd.DataFrame, palette: Palette) -> list[go.Bar]:
    """Stacked in the order of domains."""
    labels = [name for name in domains.domain.unique() if name not in (NONE, TOO_LITTLE)]
    colors = domain_colors(labels, palette)
    return [
        go.Bar(
            x=rows.layer_id,
            y=rows.share,
            marker={"color": colors[label], "line": {"width": 0}},
            customdata=rows.experts,
            hovertemplate=f"layer %{{x}}: %{{customdata}} experts prefer {literal(label)} "
            "(%{y:.0%})<extra></extra>",
        )
        for label in labels
        for rows in [domains[domains.domain == label]]
    ]


def _points(lifts: pd.DataFrame, palette: Palette) -> go.Scatter:
    """Experts side by side in their layer; those without a proven preference are grey."""
    lifts = lifts.sort_values("specialist")
    colors = domain_colors(list(lifts.domain.unique()), palette)
    side = lifts.groupby("layer_id").lift.rank(method="first") * GOLDEN % 1
    records = lifts.to_dict("records")
    return go.Scatter(
        x=lifts.layer_id + JITTER * (2 * side - 1),
        y=lifts.lift,
        mode="markers",
        marker={
            "size": 4.5,
            "color": [
                colors[row["domain"]] if row["specialist"] else palette.neutral for row in records
            ],
            "opacity": 0.85,
            "line": {"width": 0},
        },
        text=[
            f"layer {row['layer_id']}, expert {row['expert_id']}: "
            f"<b>{row['lift']:.1f}×</b> in {literal(row['domain'])}"
            f"<br>{'q < 0.05' if row['specialist'] else 'not proven: chance may explain it'}"
            for row in records
        ],
        hovertemplate="%{text}<extra></extra>",
    )


def _interval(rows: pd.DataFrame, color: str, width: int) -> go.Scatter:
    ends = [(low, high, None) for low, high in zip(rows.low, rows.high, strict=True)]
    return go.Scatter(
        x=np.repeat(rows.layer_id, 3),
        y=[None if pd.isna(end) else float(end) for segment in ends for end in segment],
        mode="lines",
        line={"color": color, "width": width},
        hoverinfo="skip",
    )


def _dots(rows: pd.DataFrame, row: Row, palette: Palette) -> go.Scatter:
    mark = {"size": 8, "color": palette.accent, "line": {"width": 1, "color": palette.ground}}
    return _marks(rows, row, rows.estimate, mark)


def _ticks(rows: pd.DataFrame, row: Row, color: str, *, size: int) -> go.Scatter:
    mark = {"symbol": "line-ew", "size": size, "line": {"width": 2, "color": color}}
    return _marks(rows, row, rows["null"], mark)


def _marks(rows: pd.DataFrame, row: Row, values: pd.Series, mark: dict[str, Any]) -> go.Scatter:
    return go.Scatter(
        x=rows.layer_id,
        y=values,
        mode="markers",
        marker=mark,
        text=[
            f"layer {one.layer_id}: <b>{row.text(one)}</b>{row.beside(one)}"
            for one in rows.itertuples()
        ],
        hovertemplate="%{text}<extra></extra>",
    )


def _mean(row: Row, of: Tables) -> str:
    """Over all layers: what stands above a cell."""
    if row.name == "lifts":
        proven, median = of.lifts.specialist.mean(), of.lifts.lift.median()
        return f"<b>{median:.1f}×</b> the median; {proven:.0%} proven"
    found = of.measures[(of.measures.measure == row.name) & (of.measures.layer_id == ALL_LAYERS)]
    one = next(found.itertuples())
    return f"<b>{row.text(one)}</b>{row.beside(one)}"
