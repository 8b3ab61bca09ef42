"""Whether a trace has what a selection names."""

from dataclasses import replace

import streamlit as st

from analysis import document_rows, queries
from app.trace import BY_IDENTITY, Trace
from app.views.shared.layer_names import names_of
from app.views.shared.selection import Selection, expert_words


@st.cache_data(max_entries=256, show_spinner=False, hash_funcs=BY_IDENTITY)
def checked(selection: Selection, trace: Trace) -> tuple[Selection, list[str]]:
    """Without what the trace does not have, and that in words."""
    names, sizes = names_of(trace), trace.info.layer_sizes
    layers = tuple(layer for layer in selection.layers if layer < len(sizes))
    experts = tuple(
        (layer, expert)
        for layer, expert in selection.experts
        if layer < len(sizes) and expert < sizes[layer]
    )
    domains = tuple(domain for domain in selection.domains if domain in trace.domains)
    phase = selection.phase if selection.phase and _has_phase(trace, selection.phase) else ""
    positions_of, leading = _documents(trace, selection)
    texts = tuple(doc_id for doc_id in selection.texts if doc_id in positions_of)
    groups = tuple(doc_id for doc_id in selection.groups if doc_id in leading)
    tokens = tuple(one for one in selection.tokens if one[1] in positions_of.get(one[0], ()))
    gone = [
        *(f"layer {layer}" for layer in selection.layers if layer not in layers),
        *(
            f"expert {expert_words(one, names) if one[0] < len(sizes) else f'{one[0]}:{one[1]}'}"
            for one in selection.experts
            if one not in experts
        ),
        *(f"domain “{domain}”" for domain in selection.domains if domain not in domains),
        *(f"group {group}" for group in selection.groups if group not in groups),
        *([f"phase {selection.phase}"] if selection.phase != phase else []),
        *(f"text {doc_id}" for doc_id in selection.texts if doc_id not in texts),
        *(f"token {one[0]}:{one[1]}" for one in selection.tokens if one not in tokens),
    ]
    there = replace(
        selection,
        layers=layers,
        experts=experts,
        domains=domains,
        groups=groups,
        phase=phase,
        texts=texts,
        tokens=tokens,
    )
    return there, gone


def _has_phase(trace: Trace, phase: str) -> bool:
    if trace.info.counts_only or phase not in queries.PHASES:
        return False
    with trace.cursor() as con:
        return bool(queries.expert_tokens(con, phase=phase).tokens.sum())


def _documents(trace: Trace, selection: Selection) -> tuple[dict[int, range], set[int]]:
    """Positions of those that are named, and which of them are the first of their group."""
    named = {*selection.texts, *selection.groups, *(doc_id for doc_id, _ in selection.tokens)}
    if not named:
        return {}, set()
    with trace.cursor() as con:
        sizes = document_rows.sizes_of(con, sorted(named))
    ends = sizes[["first_position", "last_position"]].fillna(-1).astype(int).to_numpy().tolist()
    positions = {
        doc_id: range(max(first, 0), last + 1)
        for doc_id, (first, last) in zip(sizes.doc_id.tolist(), ends, strict=True)
    }
    return positions, set(sizes.doc_id[sizes.leads].tolist())


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=BY_IDENTITY)
def texts_of(trace: Trace) -> str:
    """Which texts a trace is of: where they are the same, so are their numbers."""
    with trace.cursor() as con:
        return queries.texts_sha256(con)
