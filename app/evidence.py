"""Intervals, nulls and tests of a trace, with its sample: shared by every page.

A large trace shows estimates until its tables are stored beside it; stored.py says which it has.
L = MoE layers, E = routed experts, G = domains.
"""

import re

import numpy as np
import pandas as pd
import streamlit as st

from analysis import arrays, load, metric_intervals, queries
from analysis.domain_counts import (
    ALL_LAYERS,
    compared_layers,
    experts_per_domain,
    experts_per_domain_by_layer,
)
from analysis.experts_per_token import mean_k_table
from analysis.load import Absence
from app import sample, stored, summary_kinds
from app.stored import COMPUTED, ESTIMATED
from app.studies import estimates, statistics
from app.trace import BY_IDENTITY, Trace
from app.views.shared.layer_names import names_of

SEED = statistics.SEED
WAIT = "Resampling the texts 1,000 times…"  # under a spinner: tables here are slow
READING = (
    "Dot: the value as counted. Bar: 95 % bootstrap interval over groups of texts, corrected for "
    "small-sample bias."
)
ESTIMATE = ("estimate", "low", "high", "p", "q")
AGAINST_NULL = ("low", "high", "null", "p", "q")
SAMPLE = ("n_documents", "n_groups", "n_tokens")
LIFT_COLUMNS = (
    "layer_id",
    "expert_id",
    "domain",
    *ESTIMATE,
    *SAMPLE,
    "smallest_detectable",
    "note",
)
LOAD_COLUMNS = ("layer_id", "expert_id", *ESTIMATE, *SAMPLE, "note")
METRIC_COLUMNS = ("layer_id", "metric", "estimate", "corrected", *AGAINST_NULL, *SAMPLE, "note")
COUNT_COLUMNS = (
    "domain",
    "experts",
    *AGAINST_NULL,  # of experts
    "share",
    "median_lift",
    "median_share",
    "above_half",
    "significant",
    "not_enough",
    *SAMPLE,
    "note",
)
LOAD_METRICS = tuple(metric.__name__ for metric in metric_intervals.LOAD_METRICS)
DOMAIN_METRICS = tuple(metric.__name__ for metric in metric_intervals.DOMAIN_METRICS)


def _with_documents(table: pd.DataFrame, trace: Trace, domain: str | None = None) -> pd.DataFrame:
    """n_documents before n_groups: the texts of the row's domain, of `domain`, or of all."""
    texts = sample.by_domain(trace).set_index("domain").n_documents
    of_row = pd.Series(texts.sum() if domain is None else texts[domain], index=table.index)
    if "domain" in table and domain is None:
        of_row = table.domain.map(texts).fillna(texts.sum())
    place = list(table.columns).index("n_groups")
    table = table.copy(deep=False)
    table.insert(place, "n_documents", of_row.astype(int))
    return table


def lifts(trace: Trace) -> pd.DataFrame:
    """The lift_table of the trace. Not to be changed, as every table here."""
    return _lifts(trace, stored.source(trace, summary_kinds.LIFTS))


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=BY_IDENTITY)
def _lifts(trace: Trace, source: str) -> pd.DataFrame:
    if source == COMPUTED:
        table = statistics.lifts(stored.groups(trace))
    elif source == ESTIMATED:
        of_domain = sample.by_domain(trace).set_index("domain").n_groups
        groups_G = of_domain.reindex(trace.domains, fill_value=0).to_numpy(int)
        table = estimates.lifts(stored.domain_tokens(trace), trace.domains, groups_G)
    else:
        table = stored.frame(trace, summary_kinds.LIFTS)
    return _with_documents(table, trace)


def expert_loads(trace: Trace, domain: str | None = None) -> pd.DataFrame:
    """The expert_load_table of all texts or of one domain's."""
    return _expert_loads(trace, domain, stored.source(trace, summary_kinds.LOADS))


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs=BY_IDENTITY)
def _expert_loads(trace: Trace, domain: str | None, source: str) -> pd.DataFrame:
    if source == COMPUTED:
        table = statistics.loads(_groups(trace, domain))
    elif source == ESTIMATED:
        tokens_LE = stored.expert_tokens(trace, domain)
        table = estimates.loads(tokens_LE, num_groups=_num_groups(trace, domain))
    else:
        table = _part(stored.frame(trace, summary_kinds.LOADS), domain)
    table = _with_documents(table, trace, domain)
    missing = absence(trace, domain)
    never = table.n_tokens == 0
    cells = zip(table.layer_id[never], table.expert_id[never], table.note[never], strict=True)
    table.loc[never, "note"] = [missing.of_expert(*cell) or note for *cell, note in cells]
    return table


def _groups(trace: Trace, domain: str | None) -> statistics.Groups:
    groups = stored.groups(trace)
    return groups if domain is None else groups.domain(domain)


def _num_groups(trace: Trace, domain: str | None) -> int:
    of_domain = sample.by_domain(trace).set_index("domain").n_groups
    return int(of_domain.sum() if domain is None else of_domain[domain])


def _part(frame: pd.DataFrame, domain: str | None) -> pd.DataFrame:
    """The rows of all texts, or of one domain's."""
    rows = frame.of_domain.isna() if domain is None else frame.of_domain == domain
    return frame[rows].drop(columns="of_domain").reset_index(drop=True)


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def absence(trace: Trace, domain: str | None = None) -> Absence:
    """The experts that no token chose, of all texts or of one domain's, beside chance."""
    tokens_LE, k = stored.expert_tokens(trace, domain), stored.domain_k(trace)
    if domain is not None:
        k = k[k.domain == domain]
    tokens_LK = arrays.with_unknown_k(arrays.k_array(k, trace.info), tokens_LE)
    return load.absence(tokens_LE, tokens_LK)


def replication_table(trace: Trace) -> pd.DataFrame | None:
    """The two rows of replication(); None while they are still being computed."""
    source = stored.source(trace, summary_kinds.REPLICATION)
    return None if source == ESTIMATED else _replication(trace, source)


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def _replication(trace: Trace, source: str) -> pd.DataFrame:
    if source == COMPUTED:
        table = statistics.replicated(stored.groups(trace))
    else:
        table = stored.frame(trace, summary_kinds.REPLICATION)
    return _with_documents(table, trace)


def metrics(trace: Trace, domain: str | None = None) -> pd.DataFrame:
    """The metric_table of all texts or of one domain's, with its sample."""
    return _metrics(trace, domain, stored.source(trace, summary_kinds.METRICS))


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def _metrics(trace: Trace, domain: str | None, source: str) -> pd.DataFrame:
    names, k = names_of(trace), stored.domain_k(trace)
    if source == COMPUTED:
        table = statistics.metrics(_groups(trace, domain))
    elif source == ESTIMATED:
        tokens_LEG = stored.domain_tokens(trace)
        if domain is not None:
            tokens_LEG = stored.expert_tokens(trace, domain)[..., None]
        table = estimates.metrics(tokens_LEG)
    else:
        whole = stored.frame(trace, summary_kinds.METRICS)
        table = _part(whole[~whole.low_resource], domain).drop(columns="low_resource")
    if domain is not None:
        k = k[k.domain == domain]
    routed_L = k[k.k > 0].groupby("layer_id").tokens.sum().reindex(trace.layers, fill_value=0)
    routed = routed_L.loc[table.layer_id].to_numpy()
    table = table.assign(n_groups=_num_groups(trace, domain), n_tokens=routed)
    table = _with_documents(table, trace, domain)
    table["note"] = [
        _of_layer(note, names[layer])
        for note, layer in zip(table.note, table.layer_id, strict=True)
    ]
    left_out = table.metric == load.dead_experts.__name__
    table.loc[left_out, "null"] = absence(trace, domain).expected_L[table.layer_id[left_out]]
    return table[list(METRIC_COLUMNS)]


def low_resource_metrics(trace: Trace) -> pd.DataFrame | None:
    """The metric_table of texts in low-resource languages; None where there are none, or while it
    is still being computed."""
    return _low_resource(trace, stored.source(trace, summary_kinds.METRICS))


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def _low_resource(trace: Trace, source: str) -> pd.DataFrame | None:
    if source == ESTIMATED:
        return None
    if source == COMPUTED:
        with trace.cursor() as con:
            return statistics.low_resource_metrics(con, trace.info)
    whole = stored.frame(trace, summary_kinds.METRICS)
    rows = whole[whole.low_resource]
    return None if rows.empty else rows.drop(columns=["of_domain", "low_resource"])


def _of_layer(note: str, layer: str) -> str:
    """Layers are measured one by one: a refusal calls each of them layer 0."""
    return re.sub(r"^layer 0\b", layer, note)


def present_domains(trace: Trace) -> list[str]:
    """The domains that have tokens."""
    present_G = np.nansum(stored.domain_tokens(trace), (0, 1)) > 0
    return [trace.domains[place] for place in np.flatnonzero(present_G)]


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def domains(trace: Trace) -> pd.DataFrame:
    """domain, the sample of each (n_documents, n_groups, effective_number, design_effect,
    n_tokens), mean_loss."""
    with trace.cursor() as con:
        table = queries.domain_tokens(con)[["domain", "mean_loss"]]
    counts = ["n_documents", "n_groups", "n_tokens"]
    of_domain = sample.by_domain(trace).set_index("domain")
    table = table.join(of_domain, on="domain")
    table[counts] = table[counts].fillna(0).astype(int)
    if trace.info.counts_only:
        table["n_tokens"] = pd.NA
    return table[["domain", *of_domain, "mean_loss"]]


def domain_metrics(trace: Trace) -> pd.DataFrame:
    """The load metrics of every domain that has documents: domain, then as in metrics()."""
    present = present_domains(trace)
    tables = [load_metrics(metrics(trace, domain)) for domain in present]
    table = pd.concat(tables, keys=present, names=["domain", None])
    return table.reset_index("domain").reset_index(drop=True)


def load_metrics(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.metric.isin(LOAD_METRICS)].reset_index(drop=True)


def specialization_metrics(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.metric.isin(DOMAIN_METRICS)].reset_index(drop=True)


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def compares_domains(trace: Trace) -> bool:
    """Some layer has tokens of two or more domains."""
    return bool(compared_layers(stored.domain_tokens(trace)).any())


def expert_counts(trace: Trace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """experts_per_domain and experts_per_domain_by_layer with low, high, null, p, q, n_tokens,
    note of domain_counts."""
    kinds = summary_kinds.COUNTS, summary_kinds.LIFTS
    return _expert_counts(trace, *stored.sources(trace, *kinds))


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def _expert_counts(
    trace: Trace, source: str, lifts_source: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    tokens_LEG, table, keys = stored.domain_tokens(trace), lifts(trace), ["layer_id", "domain"]
    if source == COMPUTED:
        counts = statistics.counts(stored.groups(trace))
    elif source == ESTIMATED:
        counts = estimates.counts(tokens_LEG, trace.domains)
    else:
        counts = stored.frame(trace, summary_kinds.COUNTS)
    whole = _with_documents(experts_per_domain(tokens_LEG, table, trace.domains), trace)
    by_layer = experts_per_domain_by_layer(tokens_LEG, table, trace.domains)
    by_layer = _with_documents(by_layer, trace)
    if lifts_source == ESTIMATED:
        whole, by_layer = _untested(whole), _untested(by_layer)
    of_all = counts[counts.layer_id == ALL_LAYERS].drop(columns="layer_id").set_index("domain")
    return (
        whole.join(of_all, on="domain")[[*COUNT_COLUMNS]],
        by_layer.join(counts.set_index(keys), on=keys)[["layer_id", *COUNT_COLUMNS]],
    )


def _untested(counts: pd.DataFrame) -> pd.DataFrame:
    unknown = pd.array([pd.NA] * len(counts), dtype="Int64")
    return counts.assign(significant=unknown, not_enough=unknown)


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def mean_k(trace: Trace) -> pd.DataFrame:
    """The mean_k_table of the trace."""
    with trace.cursor() as con:
        counts = arrays.group_k_array(con, trace.info)
    table = mean_k_table(*counts, **statistics.compared(trace.info), seed=SEED)
    return _with_documents(table, trace)
