"""The groups of texts that intervals and tests of a trace take for their sample, and what is said
of them.

N = groups of texts, L = MoE layers, E = routed experts.
"""

from typing import TypedDict

import numpy as np
import pandas as pd
import streamlit as st

from analysis import arrays, domain_names, queries
from analysis.groups import effective_numbers, in_words
from analysis.influence import design_effect, spread
from app.trace import BY_IDENTITY, Trace
from data.groups import sources_of

WITHOUT_GROUPS = 3  # the newest trace format without groups
NOT_INDEPENDENT = (
    "Texts of one work, author or template are not independent: intervals are then too narrow and "
    "tests find too much."
)
GIVEN = {  # how documents came by their groups, by SOURCES
    "column": "as the prompt file groups them",
    "corpus": "one for each work, package, author or task that they come from",
    "near-duplicates": "joined only where they are equal or nearly equal",
}


@st.cache_data(max_entries=4, show_spinner=False, hash_funcs=BY_IDENTITY)
def groups(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """tokens_NLE and domain_id_N of arrays.group_array."""
    with trace.cursor() as con:
        return arrays.group_array(con, trace.info)


class Compared(TypedDict):
    domains: tuple[str, ...]
    experts_L: np.ndarray


def compared(trace: Trace) -> Compared:
    """What tables of figures are of: domains, and the experts that each layer has."""
    return {"domains": trace.domains, "experts_L": trace.info.layer_sizes}


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def by_domain(trace: Trace) -> pd.DataFrame:
    """domain, n_documents and n_groups (with a token), effective_number (of groups), design_effect
    (of the experts' shares; NA where groups are unknown), n_tokens; a row a domain with tokens."""
    tokens_NLE, domain_id_N = groups(trace)
    with trace.cursor() as con:
        tokens, doc_ids = arrays.document_array(con, trace.info)
        texts = queries.documents(con).set_index("doc_id").loc[doc_ids]
    place = pd.Index(trace.domains).get_indexer(pd.Index(texts.domain))
    num_domains = len(trace.domains)
    by_group, by_document = (
        [spread(of_NE, of_domain, num_domains=num_domains) for of_NE in of.swapaxes(0, 1)]
        for of, of_domain in ((tokens_NLE, domain_id_N), (tokens, place))
    )
    effect_G = np.full(num_domains, np.nan)
    if len(doc_ids) and trace.groups is not None:
        effect_G = design_effect(by_group, by_document)
    load_N = tokens_NLE.sum((1, 2))
    table = pd.DataFrame(
        {
            "domain": trace.domains,
            "n_documents": np.bincount(place, minlength=num_domains),
            "n_groups": np.bincount(domain_id_N, minlength=num_domains),
            "effective_number": effective_numbers(load_N, domain_id_N, num_domains=num_domains),
            "design_effect": pd.array(effect_G, dtype="Float64"),
            "n_tokens": np.bincount(place, texts.tokens, minlength=num_domains).astype(int),
        }
    )
    return table[table.n_groups > 0].reset_index(drop=True)


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def num_choices(trace: Trace) -> int:
    """Of all layers."""
    with trace.cursor() as con:
        return int(queries.expert_tokens(con).tokens.sum())


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def size(trace: Trace) -> str:
    """How many texts in how many groups, those without a token too."""
    with trace.cursor() as con:
        size = in_words(trace.info.num_documents, queries.documents(con).unit.nunique())
    return size if trace.groups is not None else f"{size}, groups unknown"


def grouping_line(trace: Trace) -> str:
    """What counts as one observation here, and how far that matters."""
    table, how = by_domain(trace), trace.groups
    n_documents, n_groups = int(table.n_documents.sum()), int(table.n_groups.sum())
    size = in_words(n_documents, n_groups)
    names = f" {line}" if (line := domain_names.in_words(trace.domains)) else ""
    if how is None:
        return f"{size}. {_unknown_groups(trace, some_known=n_groups < n_documents)}{names}"
    sources = sources_of(how)
    given = " and in part ".join(GIVEN[source] for source in sources)
    part = "in part " if len(sources) > 1 else ""
    if n_groups == n_documents:
        size += ", each a group of its own"
    ungrouped = f" {_ungrouped()}" if sources == ["near-duplicates"] else ""
    return (
        f"The sample is {size}, {part}{given}. A group is one observation."
        f"{_design_clause(table)}{ungrouped}{names}"
    )


def _unknown_groups(trace: Trace, *, some_known: bool) -> str:
    version = trace.info.format_version
    why = f", of format {version}," if version <= WITHOUT_GROUPS else ""
    texts, they = "which texts are of one source", "every text counts"
    if some_known:
        texts, they = "of all texts which are of one source", "the others count"
    return (
        f"Groups are unknown: this trace{why} does not say {texts}, so {they} as independent. "
        f"{NOT_INDEPENDENT} Capture again with a column named group."
    )


def _ungrouped() -> str:
    return f"No groups were given. {NOT_INDEPENDENT} A column named group says which texts are."


def _design_clause(table: pd.DataFrame) -> str:
    effects = table.design_effect.dropna()
    if effects.empty or effects.median() <= 1.05:
        return ""
    return (
        f" Variances are {effects.median():.1f} times what they would be if all texts were "
        "independent (design effect, median of the domains)."
    )
