"""Parts of a trace that can be compared with one another: `phase:decode`, `domain:code`, and the
halves of its texts, `half:first` and `half:second`.

A part is opened as a trace of its own, so every question can be asked of it.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import queries
from analysis.halves import judging_half
from data.routing import PHASES
from data.store import open_trace
from data.trace_part import restrict

KINDS = {"phase", "domain", "half"}
HALVES = ("first", "second")  # of the groups of every domain, which a coin divides


def open_part(path: Path, part: str, *, rows: bool = True) -> DuckDBPyConnection:
    """Of an empty `part`, the whole. ValueError: the trace has no such part."""
    con = open_trace(path, rows=rows)
    if not part:
        return con
    try:
        doc_ids, phase = _texts(con, part)
        restrict(con, name=part, doc_ids=doc_ids, phase=phase)
    except BaseException:
        con.close()
        raise
    return con


def parts_of(con: DuckDBPyConnection) -> dict[str, list[str]]:
    """Phases, domains and halves of a trace, where it has two or more of them; by what they are."""
    texts = queries.documents(con)
    info = queries.trace_info(con)
    phases = [] if info.counts_only else [phase for phase in PHASES if _has(con, phase)]
    counted = {
        "phases": [f"phase:{phase}" for phase in phases],
        "domains": [f"domain:{domain}" for domain in info.domains],
        "halves": [f"half:{half}" for half in HALVES if len(_half(texts, half))],
    }
    return {what: parts for what, parts in counted.items() if len(parts) > 1}


def in_words(part: str) -> str:
    """As pages call it: decode, math, first half."""
    kind, _, name = part.partition(":")
    return f"{name} half" if kind == "half" else name


def _has(con: DuckDBPyConnection, phase: str) -> bool:
    return bool(queries.expert_tokens(con, phase=phase).tokens.sum())


def _texts(con: DuckDBPyConnection, part: str) -> tuple[np.ndarray, str | None]:
    """Its documents, and its phase."""
    kind, _, name = part.partition(":")
    texts = queries.documents(con)
    if kind == "phase" and name in PHASES:
        if queries.trace_info(con).counts_only:
            raise ValueError(f"the trace counts choices and tells no phases{_there_are(con)}")
        if not _has(con, name):
            raise ValueError(f"the trace has no tokens of {name}{_there_are(con)}")
        return texts.doc_id.to_numpy(), name
    if kind == "domain":
        of = texts[texts.domain == name]
        if of.empty:
            raise ValueError(f"the trace has no texts of domain {name!r:.80}{_there_are(con)}")
        return of.doc_id.to_numpy(), None
    if kind == "half" and name in HALVES:
        of_half = _half(texts, name)
        if not len(of_half):
            raise ValueError("the trace has too few groups of texts for two halves")
        return of_half, None
    raise ValueError(
        f"{part!r:.80} is no part of a trace; give phase:decode, phase:prefill, domain:NAME, "
        "half:first or half:second"
    )


def _half(texts: pd.DataFrame, half: str) -> np.ndarray:
    """Empty where there are no two groups."""
    groups = texts.groupby("unit", sort=True).agg(tokens=("tokens", "sum"), of=("domain", "first"))
    if len(groups) < 2:
        return np.empty(0, int)
    domain_id_N = np.unique(groups.of, return_inverse=True)[1]
    second_N = judging_half(groups.tokens.to_numpy(), domain_id_N)
    of_half = groups.index[second_N == (half == HALVES[1])]
    return texts.doc_id[texts.unit.isin(of_half)].to_numpy()


def _there_are(con: DuckDBPyConnection) -> str:
    parts = [part for kind in parts_of(con).values() for part in kind]
    return f"; there are {', '.join(parts)}" if parts else ""
