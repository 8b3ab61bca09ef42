"""What is this trace, and which domain does each expert work for?"""

import pandas as pd
import streamlit as st

from analysis import domain_counts, queries, specialization
from analysis.significance import NOT_ENOUGH
from app import evidence
from app.views.load_balance import summary
from app.views.overview import diagnostics
from app.views.overview.figures import ARTICLE_SHARE, domains_by_layer, experts_per_domain_bars
from app.views.shared import controls
from app.views.shared.trace_choice import trace_page

trace = trace_page("Which domain does each expert work for?")
with trace.cursor() as con:
    texts = queries.domain_tokens(con)
    tokens_LEG = queries.domain_array(queries.expert_domain_tokens(con), trace.info)
with st.spinner(evidence.WAIT):
    metrics = evidence.metrics(trace)
compared_L = domain_counts.compared_layers(tokens_LEG)


def sentence(table: pd.DataFrame) -> str:
    own = table[table.domain != specialization.NONE].sort_values("experts")
    most, least = own.iloc[-1], own.iloc[0]
    return (
        f"{own.experts.sum()} of {table.experts.sum()} experts ({own.share.sum():.0%}) work mainly "
        f"for one domain: {most.domain} has the most ({most.experts}), {least.domain} the fewest "
        f"({least.experts}). The others serve several domains alike."
    )


told = summary.mean(metrics, "information_share", "Domain told by one expert", "shuffled labels")
controls.headline(
    [
        ("Tokens", f"{trace.info.num_tokens:,}", f"{trace.info.num_documents:,} texts"),
        summary.busiest(metrics),
        summary.mean(metrics, "busiest_share", "Three busiest carry", "balanced"),
        summary.dead(metrics, trace.info.num_experts),
        *([told] if compared_L.any() else []),
    ]
)
if not compared_L.any():
    evidence.show_unsaid(trace)
    controls.table(texts.rename(columns={"documents": "texts"}), name="domains", trace=trace.name)
    st.stop()
with st.spinner(evidence.WAIT):
    table, by_layer = evidence.counted_experts(trace)
controls.answer(sentence(table))
evidence.show_unsaid(trace)
left, right = st.columns([3, 2], gap="large")
with left:
    controls.chart(
        experts_per_domain_bars(table, controls.palette()),
        alt="Bars: number and share of experts that belong to each domain",
        key="experts_per_domain",
    )
    controls.note(
        "experts: those whose highest lift, at least 1.5×, is in this domain. sure: those with a "
        "lift of at least 1.5×, q < 0.05 and an interval above 1×; one can be sure of several "
        f"domains. unsaid: {NOT_ENOUGH}."
    )
with right:
    controls.table(texts.rename(columns={"documents": "texts"}), name="domains", trace=trace.name)
st.subheader("The article's three diagnostics", anchor=False)
diagnostics.show(trace)
with st.expander("Layer by layer", icon=":material/layers:"):
    controls.chart(
        domains_by_layer(by_layer, controls.palette()),
        alt="Stacked bars: experts per domain in each layer",
        key="domains_by_layer",
    )
    controls.download(by_layer, name="experts_per_domain_by_layer", trace=trace.name)
article = table.domain.map(ARTICLE_SHARE).astype(float)
controls.download(table.assign(article_share=article), name="experts_per_domain", trace=trace.name)
controls.method(
    *("experts_per_domain", "expert_domain", "load_imbalance", "busiest_share"),
    *("information_share", "distinct_share", "diagnostics"),
)
