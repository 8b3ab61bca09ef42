"""The article's three diagnostics, of this trace beside models trained for the comparison."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis import queries
from analysis.diagnostics import DISTINCT, SPREAD, diagnostics, is_low_resource
from analysis.metric_intervals import metric_table
from app import evidence
from app.trace import BY_IDENTITY, Trace
from app.views.comparison import paper
from app.views.comparison.figures import diagnostic_rows
from app.views.shared import controls

SAID = {
    "distinct experts": "a conventional MoE has 38 %",
    "three busiest": "they carry 51 % in a conventional MoE",
    "spread on low-resource languages": "0.47 in a conventional MoE",
}


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def of_trace(trace: Trace) -> pd.DataFrame:
    tokens_NLE, domain_id_N = evidence.documents(trace)
    with trace.cursor() as con:
        texts = queries.documents(con)
    texts = texts[texts.tokens > 0].sort_values("doc_id")
    low_N = texts.origin.map(is_low_resource).to_numpy(dtype=bool)
    low_resource = None
    if low_N.any():
        one_N = np.zeros(int(low_N.sum()), dtype=int)
        low_resource = metric_table(tokens_NLE[low_N], one_N, domains=["low-resource"])
    return diagnostics(
        evidence.metrics(trace),
        low_resource,
        num_documents=len(domain_id_N),
        num_low_resource=int(low_N.sum()),
    )


def show(trace: Trace) -> None:
    mine = of_trace(trace).assign(model="this trace", num_experts=trace.info.num_experts)
    table = pd.concat([mine, paper.diagnosed()], ignore_index=True)
    columns = st.columns(3, gap="large")
    for column, (name, rows) in zip(columns, table.groupby("diagnostic", sort=False), strict=True):
        label = str(name)
        with column:
            st.markdown(f"**{label.capitalize()}**")
            figure = diagnostic_rows(rows, controls.palette(), percent=label != SPREAD)
            key = f"diagnostic_{label.split()[0]}"
            controls.chart(figure, alt=f"{label}: this trace, GShard, DeepSeekMoE", key=key)
            controls.note(f"Dotted: the article says {SAID[label]}.")
    controls.note(
        "Mean over layers; bar: 95 % of other texts; tick: balanced load, for distinct experts "
        "chance. GShard (2 of 16) and DeepSeekMoE (7 of 63, one shared) were trained here on the "
        f"same tokens. {DISTINCT.capitalize()} fall as experts grow in number: compare equal "
        "numbers only. The spread is of the load over experts, relative to its mean."
    )
    controls.download(table, name="diagnostics", trace=trace.name)
