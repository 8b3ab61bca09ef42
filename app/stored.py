"""Where a page takes the tables of a trace from: what lies beside it; else the page computes them,
if that is quick, or shows estimates until a job has made them.

N = groups of texts, L = MoE layers, E = routed experts, G = domains.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis import arrays, queries
from app import summary_kinds
from app.sidecars import CAUSES
from app.studies import ablation
from app.studies.statistics import Groups
from app.studies.summary import is_large, typed, wanted
from app.trace import BY_IDENTITY, Trace
from data.sidecar import Absent, Sidecar, read_sidecar, sidecar_path
from data.sidecar_kind import Kind

COMPUTED, ESTIMATED = "computed", "estimated"
HASHED: dict[str | type[Any], Callable[[Any], Any]] = BY_IDENTITY | {Kind: lambda kind: kind.name}


def source(trace: Trace, kind: Kind) -> str:
    """COMPUTED, ESTIMATED, or the state of the file that has it: part of the key of a cache."""
    if beside(trace, kind) is not None:
        return _stamp(trace, kind)
    return ESTIMATED if is_large(trace.info) else COMPUTED


def sources(trace: Trace, *kinds: Kind) -> tuple[str, ...]:
    return tuple(source(trace, kind) for kind in kinds)


def is_complete(trace: Trace, kind: Kind) -> bool:
    """Pages have its intervals and tests."""
    return source(trace, kind) != ESTIMATED


def beside(trace: Trace, kind: Kind) -> Sidecar | None:
    """What lies beside the trace, if it can be used. Not to be changed."""
    found = look(trace, kind)
    return found if isinstance(found, Sidecar) else None


def look(trace: Trace, kind: Kind) -> Sidecar | Absent:
    """The same, or why there is none: read once while the file is the same."""
    return _read(trace, kind, _stamp(trace, kind))


def frame(trace: Trace, kind: Kind) -> pd.DataFrame:
    """Of a kind that is stored, which source() has said."""
    found = beside(trace, kind)
    assert found is not None
    return found.frame


def causes(trace: Trace) -> pd.DataFrame | None:
    """What leaving experts out did, with q and verdicts over all claims. Not to be changed."""
    return _causes(trace, _stamp(trace, CAUSES))


def coming(trace: Trace, kinds: Sequence[Kind] = summary_kinds.BY_SUMMARY) -> list[Kind]:
    """Those of which pages have estimates, or nothing yet."""
    if not is_large(trace.info):
        return []
    known = wanted(trace.info)
    return [kind for kind in kinds if kind in known and beside(trace, kind) is None]


def _stamp(trace: Trace, kind: Kind) -> str:
    """Empty where there is no file."""
    try:
        file = sidecar_path(trace.path, kind).lstat()
    except OSError:
        return ""
    return f"{file.st_mtime_ns}|{file.st_size}|{file.st_ino}"


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs=HASHED)
def _read(trace: Trace, kind: Kind, stamp: str) -> Sidecar | Absent:
    found = read_sidecar(trace.path, kind, of=trace.info)
    if isinstance(found, Absent):
        return found
    return Sidecar(typed(found.frame, kind, trace.info), found.parameters)


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=BY_IDENTITY)
def _causes(trace: Trace, stamp: str) -> pd.DataFrame | None:
    return ablation.stored(trace.path, trace.info)


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=BY_IDENTITY)
def groups(trace: Trace) -> Groups:
    """Of a trace that is small enough to compute with on a page."""
    assert not is_large(trace.info)
    with trace.cursor() as con:
        return Groups.of(con, trace.info)


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=BY_IDENTITY)
def documents(trace: Trace) -> pd.DataFrame:
    """queries.documents() without what they say. Not to be changed."""
    with trace.cursor() as con:
        return queries.documents(con).drop(columns="text")


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=BY_IDENTITY)
def domain_k(trace: Trace) -> pd.DataFrame:
    """queries.domain_k(). Not to be changed."""
    with trace.cursor() as con:
        return queries.domain_k(con)


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=BY_IDENTITY)
def domain_tokens(trace: Trace) -> np.ndarray:
    """tokens_LEG, domains in the order shown; NaN where a layer has no such expert. The table of
    lifts has them, and is read sooner than the trace."""
    lifts = beside(trace, summary_kinds.LIFTS) if is_large(trace.info) else None
    if lifts is not None:
        tokens = lifts.frame[["layer_id", "expert_id", "domain"]].assign(
            tokens=lifts.frame.n_tokens
        )
        tokens_LEG = arrays.domain_array(tokens, trace.info)
    else:
        with trace.cursor() as con:
            tokens_LEG = arrays.domain_array(queries.expert_domain_tokens(con), trace.info)
    tokens_LEG.flags.writeable = False
    return tokens_LEG


def expert_tokens(trace: Trace, domain: str | None = None) -> np.ndarray:
    """tokens_LE of all texts or of one domain's; NaN where a layer has no such expert."""
    tokens_LEG = domain_tokens(trace)
    if domain is None:
        return tokens_LEG.sum(-1)
    return tokens_LEG[..., trace.domains.index(domain)]
