"""The article's three diagnostics, of this trace beside models trained for the comparison."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis import arrays, queries
from analysis.diagnostics import SPREAD, diagnostics, is_low_resource
from analysis.metric_intervals import metric_table
from app import evidence
from app.trace import BY_IDENTITY, Trace
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


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def trace_diagnostics(trace: Trace) -> pd.DataFrame:
    """The table of diagnostics() for all texts of the trace."""
    with trace.cursor() as con:
        texts = queries.documents(con).query("tokens > 0")
        low = texts[texts.origin.map(is_low_resource).astype(bool)]
        low_NLE, _ = arrays.group_array(con, trace.info, doc_ids=low.doc_id.to_numpy())
    low_resource = None
    if len(low):
        one_N = np.zeros(len(low_NLE), dtype=int)
        low_resource = metric_table(
            low_NLE, one_N, domains=["low-resource"], experts_L=trace.info.layer_sizes
        )
    return diagnostics(
        evidence.metrics(trace),
        low_resource,
        sample=(len(texts), texts.unit.nunique()),
        low_sample=(len(low), low.unit.nunique()),
    )


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
