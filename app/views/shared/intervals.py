"""A number with its interval and its null, in words and as a figure."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.groups import in_words
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.theme import Palette, frame
from data.words import counted

MOST_APART = 32  # layers whose marks do not touch
DASH = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Measure:
    """How a metric is written."""

    title: str
    form: str  # of its numbers
    unit: str = ""

    def text(self, value: float) -> str:
        """Empty where there is no number."""
        return "" if pd.isna(value) else f"{value:{self.form}}{self.unit}"

    def short(self, value: float) -> str:
        """A null: 1 and not 1.00."""
        whole = float(value).is_integer() and not self.form.endswith("%")
        return f"{value:.0f}{self.unit}" if whole else self.text(value)

    def span(self, low: float, high: float) -> str:
        """Empty where there is no interval."""
        return "" if pd.isna(low) else f"{low:{self.form}}".rstrip("%") + f"{DASH}{self.text(high)}"


MEASURES = {
    "load_imbalance": Measure("busiest expert", ".2f", "×"),
    "max_violation": Measure("MaxVio", ".2f"),
    "gini": Measure("Gini", ".3f"),
    "coefficient_of_variation": Measure("variation", ".3f"),
    "normalized_entropy": Measure("entropy", ".3f"),
    "busiest_share": Measure("three busiest", ".1%"),
    "dead_experts": Measure("experts not chosen", ".0f"),
    "mutual_information": Measure("mutual information", ".3f", " nats"),
    "information_share": Measure("information about the domain", ".1%"),
    "mean_divergence": Measure("divergence", ".3f", " bits"),
    "distinct_share": Measure("distinct experts", ".1%"),
}
RATIO = Measure("lift", ".2f", "×")


def probability(value: float) -> str:
    """Two figures; below 0.0001 it says no more than that."""
    if pd.isna(value):
        return ""
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def reference(row: pd.Series, measure: Measure, null: str) -> str:
    """What stands under a number: its interval, then what chance or balance would give."""
    parts = [
        measure.span(row.low, row.high),
        "" if pd.isna(row.null) else f"{null} {measure.short(row.null)}",
    ]
    return ", ".join(part for part in parts if part)


def layer_intervals(
    table: pd.DataFrame,
    palette: Palette,
    *,
    metric: str,
    null: str,
    marked: int | None = None,
    names: LayerNames = NUMBERED,
) -> go.Figure:
    """One metric of a metric_table by layer: a dot as counted, a bar for its interval, a tick for
    chance."""
    rows = table[table.metric == metric]
    measure, few = MEASURES[metric], len(rows) <= MOST_APART
    scale = 1 if few else 0.5
    figure = go.Figure()
    ends = [(low, high, None) for low, high in zip(rows.low, rows.high, strict=True)]
    figure.add_scatter(
        x=rows.layer_id.repeat(3),
        y=[None if pd.isna(end) else float(end) for segment in ends for end in segment],
        mode="lines",
        name="95 % interval",
        line={"color": palette.neutral, "width": 8 if few else 4},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=rows.layer_id,
        y=rows.null.astype(float),
        mode="markers",
        name=null,
        marker={
            "symbol": "line-ew",
            "size": 18 if few else 7,
            "line": {"width": 2, "color": palette.muted},
        },
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=rows.layer_id,
        y=rows.estimate.astype(float),
        mode="markers",
        name="as counted",
        marker={
            "size": [(13 if layer == marked else 9) * scale for layer in rows.layer_id],
            "color": palette.accent,
            "line": {"width": 1.5, "color": palette.ground},
        },
        text=[_hover(row, measure, null, names) for row in rows.itertuples()],
        hovertemplate="%{text}<extra></extra>",
    )
    frame(figure, palette, height=280, legend=True)
    figure.update_xaxes(**names.axis(len(rows)), showgrid=False)
    percent = {"tickformat": ".0%"} if measure.form.endswith("%") else {}
    figure.update_yaxes(
        title_text=f"{measure.title}{measure.unit and f' ({measure.unit.strip()})'}"
    )
    return figure.update_yaxes(**percent)


def _hover(row: Any, measure: Measure, null: str, names: LayerNames) -> str:
    lines = [names.hover(row.layer_id)]
    if not pd.isna(row.estimate):
        lines.append(f"<b>{measure.text(row.estimate)}</b> as counted")
    if not pd.isna(row.low):
        corrected, span = measure.text(row.corrected), measure.span(row.low, row.high)
        lines.append(f"{corrected} ({span}) corrected for small-sample bias")
    if not pd.isna(row.null):
        lines.append(f"{null} {measure.short(row.null)}")
    if not pd.isna(row.p):
        lines.append(f"p {probability(row.p)}, q {probability(row.q)} (over layers)")
    only_choices = not row.n_tokens and not pd.isna(row.estimate)  # choices, and tokens are unknown
    tokens = "" if only_choices else f", {counted(row.n_tokens, 'token', 'tokens')}"
    lines.append(f"{in_words(row.n_documents, row.n_groups)}{tokens}")
    return "<br>".join([*lines, row.note] if row.note else lines)
