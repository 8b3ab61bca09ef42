"""The groups of texts that intervals and tests of a trace take for their sample, and what is said
of them."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis import domain_names
from analysis.groups import in_words
from app import stored, summary_kinds
from app.stored import COMPUTED, ESTIMATED
from app.studies import estimates, statistics
from app.studies.summary import groups_said
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


def by_domain(trace: Trace) -> pd.DataFrame:
    """domain, n_documents and n_groups (with a token), effective_number (of groups), design_effect
    (of the experts' shares; NA where groups are unknown), n_tokens; a row a domain with tokens.
    Not to be changed."""
    return _by_domain(trace, stored.source(trace, summary_kinds.SAMPLE))


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def _by_domain(trace: Trace, source: str) -> pd.DataFrame:
    if source == COMPUTED:
        with trace.cursor() as con:
            grouped = groups_said(trace.info) is not None
            return statistics.by_domain(con, stored.groups(trace), grouped=grouped)
    if source == ESTIMATED:
        texts = stored.documents(trace)
        if not trace.info.counts_only:  # there, no text says how many it has
            texts = texts[texts.tokens > 0]
        return estimates.sample(texts, trace.domains)
    return stored.frame(trace, summary_kinds.SAMPLE)


def num_choices(trace: Trace) -> int:
    """Of all layers."""
    return int(np.nansum(stored.domain_tokens(trace)))


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def size(trace: Trace) -> str:
    """How many texts in how many groups, those without a token too."""
    size = in_words(trace.info.num_documents, stored.documents(trace).unit.nunique())
    return size if groups_said(trace.info) is not None else f"{size}, groups unknown"


def grouping_line(trace: Trace) -> str:
    """What counts as one observation here, and how far that matters."""
    table, how = by_domain(trace), groups_said(trace.info)
    n_documents, n_groups = int(table.n_documents.sum()), int(table.n_groups.sum())
    size = in_words(n_documents, n_groups)
    names = f" {line}" if (line := domain_names.in_words(trace.domains)) else ""
    if how is None:
        return f"{size}. {_unknown_groups(trace, some_known=n_groups < n_documents)}{names}"
    sources = sources_of(how)
    if n_documents == 1:
        return f"The sample is {size}, a single observation.{names}"
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
