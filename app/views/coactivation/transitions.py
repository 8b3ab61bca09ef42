"""Which experts of the next layer follow those of a layer: tested once, a table, in words."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from analysis import arrays, pair_table
from analysis.groups import NOT_ENOUGH, in_words
from analysis.significance import MAX_Q
from analysis.transitions import transition_significance
from app.trace import BY_IDENTITY, Trace
from app.views.shared.heatmap import ZOOM, sure_mark
from app.views.shared.layer_names import names_of
from app.views.shared.sampled import sampled
from data.words import counted

TITLE = "From this layer to the next"


@dataclass(frozen=True, slots=True)
class LayerTransitions:
    tests: pd.DataFrame  # of transition_significance, no row where there are none
    counts: dict[str, int]  # n_documents, n_groups, n_tokens that chose in both layers


@st.cache_resource(max_entries=16, show_spinner="Testing every transition", hash_funcs=BY_IDENTITY)
def layer_transitions(trace: Trace, layer_id: int) -> LayerTransitions:
    """From a layer to the next."""
    with trace.cursor() as con:
        here, following = (
            arrays.layer_sample(con, trace.info, layer) for layer in (layer_id, layer_id + 1)
        )
    first, second = trace.info.layers[layer_id : layer_id + 2]
    here_TE, next_TE, group_T = arrays.transition_choices(
        here, following, (first.num_experts, second.num_experts)
    )
    both = np.intersect1d(here.doc_id, following.doc_id)
    counts = {"n_documents": len(both), "n_groups": len(np.unique(group_T))}
    counts["n_tokens"] = len(group_T)
    tests = transition_significance(here_TE, next_TE, group_T) if counts["n_tokens"] else None
    return LayerTransitions(pd.DataFrame() if tests is None else tests, counts)


def layer_table(trace: Trace, layer_id: int) -> pd.DataFrame:
    """The transition_table of a layer; no row where no token chose in both."""
    transitions = layer_transitions(trace, layer_id)
    if transitions.tests.empty:
        return transitions.tests
    return pair_table.transition_table(
        transitions.tests,
        layer_id=layer_id,
        counts=transitions.counts,
    )


def no_transitions_note(trace: Trace, layer_id: int) -> str:
    """Why a layer has none; empty if it has."""
    if layer_id == trace.layers[-1]:
        only = "the only" if trace.info.num_layers == 1 else "the last"
        layer = names_of(trace).first(layer_id)
        return f"{layer} is {only} MoE layer of this trace: nothing follows it."
    if layer_transitions(trace, layer_id).tests.empty:
        return "No token chose experts in both layers, so there are no transitions."
    return ""


def heatmap_note(trace: Trace, transitions: LayerTransitions, *, crowded: bool = False) -> str:
    """What was tested, on what, and what it does not say."""
    tested = int(transitions.tests.q.notna().sum())
    n_documents, n_groups, n_tokens = transitions.counts.values()
    significant = int((transitions.tests.q < MAX_Q).sum())
    undecided, zoom = ("Grey", ZOOM) if crowded else ("Hatched", "")
    return (
        f"Compared with independent choices in the two layers. {sure_mark(crowded=crowded)}: q < "
        f"{MAX_Q} ({significant:,} of the {tested:,} testable transitions, Benjamini-Hochberg). "
        f"{undecided}: {NOT_ENOUGH}.{zoom} The sample is "
        f"{in_words(n_documents, n_groups)} with {counted(n_tokens, 'token', 'tokens')}. "
        "The test does not say why: the token itself ties one layer to the next, and so does the "
        "subject of the text." + sampled(trace.info, transitions.counts)
    )
