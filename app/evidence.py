"""Intervals, nulls and tests of a trace: computed once, then shared by every page.

N = groups of texts, L = MoE layers, E = routed experts, G = domains.
"""

import re
from html import escape

import numpy as np
import pandas as pd
import streamlit as st

from analysis import arrays, bootstrap, load, metric_intervals, permutation, queries, significance
from analysis.domain_counts import (
    ALL_LAYERS,
    compared_layers,
    domain_counts,
    experts_per_domain,
    experts_per_domain_by_layer,
)
from analysis.expert_loads import expert_load_table
from analysis.experts_per_token import mean_k_table
from analysis.groups import too_few
from analysis.layers import marked
from analysis.load import Absence
from analysis.metric_intervals import metric_table
from analysis.replication import NUMBERS, replication
from analysis.significance import lift_table
from app import sample, sidecars
from app.trace import BY_IDENTITY, Trace
from app.views.shared import needs
from app.views.shared.layer_names import names_of
from data.sidecar import Sidecar

SEED = 0
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
    "share",
    *AGAINST_NULL,
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
    table.insert(place, "n_documents", of_row.astype(int))
    return table


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def lifts(trace: Trace) -> pd.DataFrame:
    """The lift_table of the trace."""
    return _with_documents(
        lift_table(*sample.groups(trace), **sample.compared(trace), seed=SEED), trace
    )


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=BY_IDENTITY)
def expert_loads(trace: Trace, domain: str | None = None) -> pd.DataFrame:
    """The expert_load_table of all texts or of one domain's."""
    tokens_NLE, domain_id_N = sample.groups(trace)
    member_N = slice(None) if domain is None else domain_id_N == trace.domains.index(domain)
    table = expert_load_table(
        tokens_NLE[member_N], domain_id_N[member_N], experts_L=trace.info.layer_sizes
    )
    table = _with_documents(table, trace, domain)
    missing = absence(trace, domain)
    cells = zip(table.layer_id, table.expert_id, table.note, strict=True)
    table["note"] = [missing.of_expert(layer, expert) or note for layer, expert, note in cells]
    return table


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def absence(trace: Trace, domain: str | None = None) -> Absence:
    """The experts that no token chose, of all texts or of one domain's, beside chance."""
    with trace.cursor() as con:
        tokens_LE = arrays.load_array(queries.expert_tokens(con, domain=domain), trace.info)
        k = queries.domain_k(con)
    if domain is not None:
        k = k[k.domain == domain]
    tokens_LK = arrays.with_unknown_k(arrays.k_array(k, trace.info), tokens_LE)
    return load.absence(tokens_LE, tokens_LK)


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def replication_table(trace: Trace) -> pd.DataFrame:
    """The two rows of replication(), from beside the trace if they are there."""
    stored = trace.beside(sidecars.REPLICATION)
    if isinstance(stored, Sidecar):
        return _with_documents(stored.frame.astype(dict.fromkeys(NUMBERS, "Float64")), trace)
    table = replication(*sample.groups(trace), **sample.compared(trace), seed=SEED)
    return _with_documents(table, trace)


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def metrics(trace: Trace, domain: str | None = None) -> pd.DataFrame:
    """The metric_table of all texts or of one domain's, with its sample."""
    (tokens_NLE, domain_id_N), names = sample.groups(trace), names_of(trace)
    with trace.cursor() as con:
        k = queries.domain_k(con)
    if domain is not None:
        member_N = domain_id_N == trace.domains.index(domain)
        tokens_NLE, domain_id_N = tokens_NLE[member_N], domain_id_N[member_N]
        k = k[k.domain == domain]
    table = metric_table(tokens_NLE, domain_id_N, **sample.compared(trace), seed=SEED)
    routed_L = k[k.k > 0].groupby("layer_id").tokens.sum().reindex(trace.layers, fill_value=0)
    routed = routed_L.loc[table.layer_id].to_numpy()
    table = table.assign(n_groups=len(domain_id_N), n_tokens=routed)
    table = _with_documents(table, trace, domain)
    table["note"] = [
        _of_layer(note, names[layer])
        for note, layer in zip(table.note, table.layer_id, strict=True)
    ]
    left_out = table.metric == load.dead_experts.__name__
    table.loc[left_out, "null"] = absence(trace, domain).expected_L[table.layer_id[left_out]]
    return table[list(METRIC_COLUMNS)]


def _of_layer(note: str, layer: str) -> str:
    """Layers are measured one by one: a refusal calls each of them layer 0."""
    return re.sub(r"^layer 0\b", layer, note)


def present_domains(trace: Trace) -> list[str]:
    """The domains that have tokens."""
    _, domain_id_N = sample.groups(trace)
    return [trace.domains[domain_id] for domain_id in np.unique(domain_id_N)]


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


def _domain_tokens(trace: Trace) -> np.ndarray:
    """tokens_LEG"""
    tokens_NLE, domain_id_N = sample.groups(trace)
    member_NG = np.eye(len(trace.domains))[domain_id_N]
    tokens_LEG = np.einsum("nle,ng->leg", tokens_NLE, member_NG, optimize=True)
    return marked(tokens_LEG, trace.info.layer_sizes)


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def compares_domains(trace: Trace) -> bool:
    """Some layer has tokens of two or more domains."""
    return bool(compared_layers(_domain_tokens(trace)).any())


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def expert_counts(trace: Trace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """experts_per_domain and experts_per_domain_by_layer with low, high, null, p, q, n_tokens,
    note of domain_counts."""
    tokens_NLE, domain_id_N = sample.groups(trace)
    counts = domain_counts(tokens_NLE, domain_id_N, **sample.compared(trace), seed=SEED)
    tokens_LEG, table, keys = _domain_tokens(trace), lifts(trace), ["layer_id", "domain"]
    whole = _with_documents(experts_per_domain(tokens_LEG, table, trace.domains), trace)
    by_layer = experts_per_domain_by_layer(tokens_LEG, table, trace.domains)
    by_layer = _with_documents(by_layer, trace)
    of_all = counts[counts.layer_id == ALL_LAYERS].drop(columns="layer_id").set_index("domain")
    return (
        whole.join(of_all, on="domain")[[*COUNT_COLUMNS]],
        by_layer.join(counts.set_index(keys), on=keys)[["layer_id", *COUNT_COLUMNS]],
    )


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def mean_k(trace: Trace) -> pd.DataFrame:
    """The mean_k_table of the trace."""
    with trace.cursor() as con:
        counts = arrays.group_k_array(con, trace.info)
    table = mean_k_table(*counts, **sample.compared(trace), seed=SEED)
    return _with_documents(table, trace)


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def limits(trace: Trace) -> list[str]:
    """What this trace cannot show and why, one line per limit."""
    if trace.info.counts_only:
        return needs.lacking(trace)
    tokens_NLE, domain_id_N = sample.groups(trace)
    names = [names_of(trace)[layer_id] for layer_id in trace.layers]
    compared = sample.compared(trace)
    lines = significance.limits(tokens_NLE, domain_id_N, **compared, layer_names=names)
    missing = absence(trace)
    if missing.count():
        lines.append(f"{missing.clause()}.")
    if few := too_few(tokens_NLE.sum((1, 2)), domain_id_N):
        lines.append(f"The figures of a layer have no intervals: {few}.")
    lines.append(sample.grouping_line(trace))
    least, most = trace.k_range
    if trace.k_varies:
        lines.append(
            f"The number of chosen experts varies from token to token, from {least} to {most}. "
            "Shares are shares of choices: a token counts once for each expert it chose."
        )
    elif all(layer.top_k == layer.num_experts for layer in trace.info.layers):
        lines.append(
            "Every token chooses every expert (k = E), so every load is balanced and no expert "
            "can show a preference."
        )
    return lines + needs.lacking(trace)


def draw_limits(trace: Trace) -> None:
    draw_lines(limits(trace))


def draw_sample(trace: Trace) -> None:
    """What counts as one observation, where nothing else of a trace is limited."""
    draw_lines([sample.grouping_line(trace)])


def draw_lines(lines: list[str]) -> None:
    """Shown literally: domains are named."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    st.html(f'<ul class="rs-limits">{items}</ul>')


def statistics(trace: Trace) -> dict[str, object]:
    """How the figures of an export were tested."""
    return {
        "sample": trace.unit,
        "interval": f"{bootstrap.CONFIDENCE:.0%}",
        "interval_method": "over groups: of layers by bootstrap, of lifts and loads by Student's t",
        "family_size": significance.family_size(lifts(trace)),
        "false_discovery_rate": f"Benjamini-Hochberg, q < {significance.MAX_Q}",
        "resamples": bootstrap.RESAMPLES,
        "permutations": permutation.PERMUTATIONS,
        "permutations_of_a_null": metric_intervals.NULL_PERMUTATIONS,
        "seed": SEED,
        "groups": trace.groups,
        "sample_by_domain": _records(sample.by_domain(trace)),
        "unsaid": limits(trace),
    }


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as JSON can hold them: what is unknown is null."""
    known = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in known.to_dict("records")]
