"""The article's three diagnostics, of this trace beside models trained for the comparison."""

import pandas as pd

from analysis.diagnostics import SPREAD, diagnostics, is_low_resource
from app import evidence, stored
from app.stored import ESTIMATED
from app.studies.estimates import COMING
from app.summary_kinds import METRICS
from app.trace import Trace
from app.views.comparison import paper
from app.views.comparison.figures import diagnostic_rows
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

ARTICLE_VALUE = {
    "distinct experts": "38 %",
    "three busiest": "51 %",
    "spread on low-resource languages": "0.47",
}
NOTE = (
    "Mean over layers. Bar: 95 % bootstrap interval, of this trace over groups of texts, of the "
    "two models over texts. Tick: balanced load; for distinct experts, chance. GShard (2 of 16 "
    "experts) and DeepSeekMoE (7 of 63, one shared) were trained here on the same tokens. The "
    "share of distinct experts falls as the number of experts grows, so compare only models with "
    "equally many. The spread is the standard deviation of the load over experts, divided by its "
    "mean."
)


def trace_diagnostics(trace: Trace) -> pd.DataFrame:
    """The table of diagnostics() for all texts of the trace."""
    texts = stored.documents(trace).query("tokens > 0")
    low = texts[texts.origin.map(is_low_resource).astype(bool)]
    table = diagnostics(
        evidence.metrics(trace),
        evidence.low_resource_metrics(trace),
        sample=(len(texts), texts.unit.nunique()),
        low_sample=(len(low), low.unit.nunique()),
    )
    if len(low) and stored.source(trace, METRICS) == ESTIMATED:
        table.loc[table.diagnostic == SPREAD, "note"] = COMING
    return table


def panels(trace: Trace, palette: Palette) -> list[Panel]:
    """A figure of each diagnostic, then the table of all three."""
    mine = trace_diagnostics(trace).assign(model="this trace", num_experts=trace.info.num_experts)
    table = pd.concat([mine, paper.diagnosed()], ignore_index=True)
    figures = [
        _diagnostic(str(name), rows, palette)
        for name, rows in table.groupby("diagnostic", sort=False)
    ]
    return [*figures, Panel(name="diagnostics", table=table, note=NOTE)]


def _diagnostic(name: str, rows: pd.DataFrame, palette: Palette) -> Panel:
    return Panel(
        name=f"diagnostic_{name.split()[0]}",
        table=rows,
        title=name.capitalize(),
        figure=diagnostic_rows(rows, palette, percent=name != SPREAD),
        alt=f"{name}: this trace, GShard, DeepSeekMoE",
        note=f"Dotted line: the article's value for a conventional MoE, {ARTICLE_VALUE[name]}.",
    )
