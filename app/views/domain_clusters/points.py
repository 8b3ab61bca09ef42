"""The points of a map in words: what one is, what all show, which ones were selected."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis import queries
from app.trace import Trace
from app.views.shared import controls
from app.views.shared.theme import literal, visible

LISTED = 200  # rows of a selection on screen
UNTESTED = "no interval and no test: of other texts the map would be another"


def hover(points: pd.DataFrame, what: str) -> list[str]:
    if what == "experts":
        rows = zip(points.layer_id, points.expert_id, points.domain, points.tokens, strict=True)
        return [
            f"layer {layer}, expert {expert}<br>{literal(domain)}, {tokens:,} choices"
            for layer, expert, domain, tokens in rows
        ]
    return [
        f"<b>{literal(text[:60])}</b><br>{literal(domain)}, text {doc_id}"
        for text, domain, doc_id in zip(points.text, points.domain, points.doc_id, strict=True)
    ]


def expert_share(
    trace: Trace, points: pd.DataFrame, what: str, layer_id: int, expert_id: int
) -> np.ndarray:
    """1 where it is a token's first choice, its share of a prompt's choices, 1 for itself."""
    if what == "tokens":
        return (points[f"expert_{layer_id}"] == expert_id).to_numpy(float)
    if what == "experts":
        chosen = (points.layer_id == layer_id) & (points.expert_id == expert_id)
        return chosen.to_numpy(float)
    with trace.cursor() as con:
        load = queries.document_load(con)
    load = load[load.layer_id == layer_id]
    all_of_layer = load.groupby("doc_id").tokens.sum()
    of_expert = load[load.expert_id == expert_id].set_index("doc_id").tokens
    share = (of_expert / all_of_layer).reindex(points.doc_id).fillna(0.0)
    return share.to_numpy(float)


def sentence(what: str, points: pd.DataFrame, parameters: dict[str, Any]) -> str:
    if parameters["method"] == "svd":
        return (
            f"A first look at {len(points):,} {what}: the two main directions of their routing. "
            "Clusters come with the finished map."
        )
    text = (
        f"{len(points):,} {what} fall into {parameters['clusters']} clusters by their routing alone"
    )
    agreement = parameters.get("agreement")
    if not agreement:
        return f"{text}."
    return (
        f"{text}; {agreement['purity']:.0%} share their cluster's most frequent domain, against "
        f"{agreement['shuffled_purity']:.0%} if domains were shuffled (NMI {agreement['nmi']:.2f} "
        f"against {agreement['shuffled_nmi']:.2f})."
    )


def scope(what: str, parameters: dict[str, Any], *, shown: int) -> str:
    method = {"svd": "truncated SVD", "umap": "UMAP after truncated SVD"}[parameters["method"]]
    noise = parameters.get("noise_share")
    left_out = f" {noise:.0%} are in no cluster." if noise else ""
    return (
        f"Showing {shown:,} of {parameters['points_in_trace']:,} {what}, {method}, seed "
        f"{parameters['seed']}.{left_out} Only neighbourhood has a meaning here: distances between "
        "groups and their sizes have none."
    )


def selected(trace: Trace, chosen: pd.DataFrame, what: str, *, of: int) -> None:
    """What was selected: its domains and its texts."""
    counts = chosen.domain.value_counts()
    parts = ", ".join(f"{domain} {count / len(chosen):.0%}" for domain, count in counts.items())
    controls.answer(f"{len(chosen):,} of {of:,} {what} selected: {parts}.")
    columns = [
        name for name in chosen if name in ("layer_id", "expert_id", "tokens", "doc_id", "position")
    ]
    listed = chosen.head(LISTED)[["domain", *columns]]
    if what != "experts":
        listed = listed.assign(text=[visible(text) for text in chosen.head(LISTED).text])
    if what == "tokens":
        with trace.cursor() as con:
            texts = queries.documents(con).set_index("doc_id").text
        listed = listed.assign(in_text=texts.reindex(listed.doc_id).map(visible).to_numpy())
    st.dataframe(listed, hide_index=True, height=320, alt=f"selected {what}")
    if len(chosen) > LISTED:
        controls.note(f"The first {LISTED} of {len(chosen):,}; the CSV has all.")
    controls.download(chosen, name=f"selected_{what}", trace=trace.name)


def agreement(trace: Trace, parameters: dict[str, Any], what: str) -> None:
    """Clusters against domains, beside shuffled domains."""
    if parameters.get("agreement"):
        st.markdown("**Clusters against domains**")
        table = agreement_table(parameters)
        controls.table(table, name=f"agreement_of_{what}", trace=trace.name)


def agreement_table(parameters: dict[str, Any]) -> pd.DataFrame:
    """A row a measure; docs/metrics.md says why low, high, p and q are empty."""
    found, measures = parameters["agreement"], ("nmi", "ari", "purity")
    rows = {
        "measure": ["NMI", "ARI", "purity"],
        "clusters": [found[name] for name in measures],
        "domains_shuffled": [found[f"shuffled_{name}"] for name in measures],
        **dict.fromkeys(("low", "high", "p", "q")),
        "points": parameters["points"],
        "note": UNTESTED,
    }
    return pd.DataFrame(rows)
