"""Intervals, nulls and tests of a trace: computed once, then shared by every page.

N = documents, L = MoE layers, E = routed experts, G = domains.
"""

import re
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis import bootstrap, metric_intervals, permutation, queries, significance
from analysis.domain_counts import (
    ALL_LAYERS,
    domain_counts,
    experts_per_domain,
    experts_per_domain_by_layer,
)
from analysis.expert_loads import expert_load_table
from analysis.experts_per_token import mean_k_table
from analysis.metric_intervals import MIN_FREEDOM, metric_table
from analysis.replication import COLUMNS, NUMBERS, replication
from analysis.significance import NOT_ENOUGH, lift_table
from app.trace import BY_IDENTITY, Trace

SEED = 0
WAIT = "Drawing these documents anew, 1,000 times…"  # under a spinner: tables here are slow
READING = (
    "Dot: as counted. Bar: where 95 % of other samples of as many texts would put it, less what "
    "few texts add by themselves."
)
LIFT_COLUMNS = (
    *("layer_id", "expert_id", "domain", "estimate", "low", "high", "p", "q"),
    *("n_documents", "n_tokens", "smallest_detectable", "note"),
)
LOAD_COLUMNS = (
    *("layer_id", "expert_id", "estimate", "low", "high", "p", "q"),
    *("n_documents", "n_tokens", "note"),
)
METRIC_COLUMNS = (
    *("layer_id", "metric", "estimate", "corrected", "low", "high", "null", "p", "q"),
    *("n_documents", "n_tokens", "note"),
)
COUNT_COLUMNS = (
    *("domain", "experts", "share", "low", "high", "null", "p", "q"),
    *("significant", "not_enough", "n_documents", "n_tokens", "note"),
)
LOAD_METRICS = tuple(metric.__name__ for metric in metric_intervals.LOAD_METRICS)
DOMAIN_METRICS = tuple(metric.__name__ for metric in metric_intervals.DOMAIN_METRICS)


@st.cache_data(max_entries=4, show_spinner=False, hash_funcs=BY_IDENTITY)
def documents(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """tokens_NLE and domain_id_N of queries.document_array."""
    with trace.cursor() as con:
        return queries.document_array(con, trace.info)


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def lifts(trace: Trace) -> pd.DataFrame:
    """The lift_table of the trace."""
    return lift_table(*documents(trace), domains=trace.domains, seed=SEED)


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=BY_IDENTITY)
def expert_loads(trace: Trace, domain: str | None = None) -> pd.DataFrame:
    """The expert_load_table of all documents or of one domain's."""
    tokens_NLE, domain_id_N = documents(trace)
    member_N = slice(None) if domain is None else domain_id_N == trace.domains.index(domain)
    return expert_load_table(tokens_NLE[member_N], domain_id_N[member_N])


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def replicated(trace: Trace) -> pd.DataFrame:
    """The two rows of replication, from beside the trace if they are there."""
    if (stored := trace.beside("replication")) is not None:
        return stored.reindex(columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, "Float64"))
    return replication(*documents(trace), domains=trace.domains, seed=SEED)


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def metrics(trace: Trace, domain: str | None = None) -> pd.DataFrame:
    """The metric_table of all documents or of one domain's, with n_documents and n_tokens."""
    tokens_NLE, domain_id_N = documents(trace)
    with trace.cursor() as con:
        tokens = queries.domain_tokens(con).set_index("domain").tokens
    if domain is not None:
        member_N = domain_id_N == trace.domains.index(domain)
        tokens_NLE, domain_id_N, tokens = (
            tokens_NLE[member_N],
            domain_id_N[member_N],
            tokens[[domain]],
        )
    table = metric_table(tokens_NLE, domain_id_N, domains=trace.domains, seed=SEED)
    routed_L = np.where(tokens_NLE.any((0, 2)), tokens.sum(), 0)
    table = table.assign(n_documents=len(domain_id_N), n_tokens=routed_L[table.layer_id])
    table["note"] = [
        _of_layer(note, layer) for note, layer in zip(table.note, table.layer_id, strict=True)
    ]
    return table[list(METRIC_COLUMNS)]


def _of_layer(note: str, layer_id: int) -> str:
    """Layers are measured one by one: a refusal calls each of them layer 0."""
    return re.sub(r"^layer 0\b", f"layer {layer_id}", note)


def read_domains(trace: Trace) -> list[str]:
    """The domains that have tokens."""
    _, domain_id_N = documents(trace)
    return [trace.domains[domain_id] for domain_id in np.unique(domain_id_N)]


def domain_metrics(trace: Trace) -> pd.DataFrame:
    """The load metrics of every domain that has documents: domain, then as in metrics()."""
    present = read_domains(trace)
    tables = [load_metrics(metrics(trace, domain)) for domain in present]
    table = pd.concat(tables, keys=present, names=["domain", None])
    return table.reset_index("domain").reset_index(drop=True)


def load_metrics(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.metric.isin(LOAD_METRICS)].reset_index(drop=True)


def specialization_metrics(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.metric.isin(DOMAIN_METRICS)].reset_index(drop=True)


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def counted_experts(trace: Trace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """experts_per_domain and experts_per_domain_by_layer with low, high, null, p, q, n_tokens,
    note of domain_counts."""
    tokens_NLE, domain_id_N = documents(trace)
    counts = domain_counts(tokens_NLE, domain_id_N, domains=trace.domains, seed=SEED)
    tokens_LEG = np.einsum(
        "nle,ng->leg", tokens_NLE, np.eye(len(trace.domains))[domain_id_N], optimize=True
    )
    found, keys = lifts(trace), ["layer_id", "domain"]
    whole = experts_per_domain(tokens_LEG, found, trace.domains)
    by_layer = experts_per_domain_by_layer(tokens_LEG, found, trace.domains)
    of_all = counts[counts.layer_id == ALL_LAYERS].drop(columns="layer_id").set_index("domain")
    return (
        whole.join(of_all, on="domain")[[*COUNT_COLUMNS]],
        by_layer.join(counts.set_index(keys), on=keys)[["layer_id", *COUNT_COLUMNS]],
    )


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def mean_k(trace: Trace) -> pd.DataFrame:
    """The mean_k_table of the trace."""
    with trace.cursor() as con:
        found = queries.document_k_array(con, trace.info)
    domains, num_experts = trace.domains, trace.info.num_experts
    return mean_k_table(*found, domains=domains, num_experts=num_experts, seed=SEED)


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def unsaid(trace: Trace) -> list[str]:
    """What this trace cannot show and why, a line each."""
    tokens_NLE, domain_id_N = documents(trace)
    lines = significance.unsaid(tokens_NLE, domain_id_N, domains=trace.domains)
    if len(domain_id_N) - len(np.unique(domain_id_N)) < MIN_FREEDOM:
        texts = "1 text" if len(domain_id_N) == 1 else f"{len(domain_id_N)} texts"
        lines.append(f"{texts}: {NOT_ENOUGH} how sure the figures of a layer are. No intervals.")
    least, most = trace.k_range
    if least < most:
        lines.append(
            f"The number of chosen experts varies from token to token, {least} to {most}: "
            "shares are of choices, in which a token counts once for each expert that it chose."
        )
    elif least == trace.info.num_experts:
        lines.append(
            "Every token chooses every expert (k = E): every load is balanced and no preference "
            "can show."
        )
    with trace.cursor() as con:
        if queries.expert_tokens(con).weight_sum.isna().any():
            lines.append(
                "This trace has expert ids without mixing weights: choices are counted, weights "
                "are not shown."
            )
    return lines


def show_unsaid(trace: Trace) -> None:
    """Shown literally: domains are named."""
    if lines := unsaid(trace):
        items = "".join(f"<li>{escape(line)}</li>" for line in lines)
        st.html(f'<ul class="rs-unsaid">{items}</ul>')


def described(trace: Trace) -> dict[str, Any]:
    """How the figures of an export were tested."""
    return {
        "sample": trace.unit,
        "interval": f"{bootstrap.CONFIDENCE:.0%}",
        "family_size": significance.family_size(lifts(trace)),
        "false_discovery_rate": f"Benjamini-Hochberg, q < {significance.MAX_Q}",
        "resamples": bootstrap.RESAMPLES,
        "permutations": permutation.PERMUTATIONS,
        "permutations_of_a_null": metric_intervals.NULL_PERMUTATIONS,
        "seed": SEED,
        "unsaid": unsaid(trace),
    }
