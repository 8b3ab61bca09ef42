"""What is this trace, and which domain does each expert work for?"""

import numpy as np
import pandas as pd
import streamlit as st

from analysis import load, queries, specialization
from app import controls, workspace
from app.figures.domains import ARTICLE_SHARE, domains_by_layer, experts_per_domain_bars

trace, info = controls.page("Which domain does each expert work for?")
with workspace.cursor(trace) as con:
    texts = queries.domain_tokens(con)
    tokens_LEG = queries.domain_array(queries.expert_domain_tokens(con), info)
tokens_LE = tokens_LEG.sum(-1)
labelled = np.count_nonzero(tokens_LEG.any((0, 1))) > 1


def headline() -> list[tuple[str, str, str]]:
    imbalance_L = load.load_imbalance(tokens_LE)
    return [
        ("Tokens", f"{info.num_tokens:,}", f"{info.num_documents:,} texts"),
        (
            "Busiest expert",
            f"{imbalance_L.max():.2f}×",
            f"of layer {imbalance_L.argmax()}; balanced 1×",
        ),
        (
            "Three busiest carry",
            f"{load.busiest_share(tokens_LE).mean():.1%}",
            f"balanced {3 / info.num_experts:.1%}, article 51%",
        ),
        ("Dead experts", f"{load.dead_experts(tokens_LE).sum()}", f"of {tokens_LE.size}"),
        *([information()] if labelled else []),
    ]


def information() -> tuple[str, str, str]:
    share = specialization.information_share(tokens_LEG).mean()
    return ("Domain told by one expert", f"{share:.1%}", "random router 0%, full 100%")


def sentence(table: pd.DataFrame) -> str:
    own = table[table.domain != specialization.NONE].sort_values("experts")
    most, least = own.iloc[-1], own.iloc[0]
    return (
        f"{own.experts.sum()} of {tokens_LE.size} experts ({own.share.sum():.0%}) work mainly for "
        f"one domain: {most.domain} has the most ({most.experts}), {least.domain} the fewest "
        f"({least.experts}). The others serve several domains alike."
    )


controls.headline(headline())
if not labelled:
    st.info("Which experts a domain has shows in texts of two or more labelled domains.")
    st.stop()
table = specialization.experts_per_domain(tokens_LEG, info.domains)
controls.answer(sentence(table))
left, right = st.columns([3, 2], gap="large")
with left:
    controls.show(
        experts_per_domain_bars(table, controls.palette()),
        alt="Bars: number and share of experts that belong to each domain",
        key="experts_per_domain",
    )
with right:
    controls.table(texts.rename(columns={"documents": "texts"}), name="domains", trace=trace.name)
with st.expander("Layer by layer", icon=":material/layers:"):
    by_layer = specialization.experts_per_domain_by_layer(tokens_LEG, info.domains)
    controls.show(
        domains_by_layer(by_layer, controls.palette()),
        alt="Stacked bars: experts per domain in each layer",
        key="domains_by_layer",
    )
    controls.download(by_layer, name="experts_per_domain_by_layer", trace=trace.name)
article = table.domain.map(ARTICLE_SHARE).astype(float)
controls.download(table.assign(article_share=article), name="experts_per_domain", trace=trace.name)
controls.method(
    "experts_per_domain", "expert_domain", "load_imbalance", "busiest_share", "information_share"
)
