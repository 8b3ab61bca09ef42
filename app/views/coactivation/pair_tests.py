"""The pairs of one layer of a trace: tested once, then put in words."""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from analysis import excess, pairs, queries
from analysis.pair_table import Null
from app.trace import BY_IDENTITY, Trace
from app.views.coactivation.figures import SIGNIFICANT

WORDS: dict[Null, str] = {
    "load": "the loads of the experts explain",
    "uniform": "choosing k of E at random explains",
}


@dataclass(frozen=True, slots=True)
class LayerPairs:
    tests: pd.DataFrame  # of pair_significance, no row where there are no pairs
    num_documents: int  # read
    num_tokens: int  # routed in the layer
    reason: str  # why there are no pairs


@st.cache_data(max_entries=64, show_spinner="Testing every pair", hash_funcs=BY_IDENTITY)
def layer_pairs(trace: Trace, layer_id: int) -> LayerPairs:
    """Of the trace with that identity."""
    with trace.cursor() as con:
        choices = queries.layer_choices(con, layer_id)
    chosen_TE, document_T = queries.choice_array(choices, trace.info)
    num_documents = len(set(document_T))
    try:
        tests, reason = pairs.pair_significance(chosen_TE, document_T), ""
    except ValueError as error:
        tests, reason = pd.DataFrame(), str(error)
    return LayerPairs(tests, num_documents, len(chosen_TE), reason)


def sentence(found: LayerPairs, *, layer_id: int, null: Null) -> str:
    tests, q = found.tests, found.tests[f"q_{null}"]
    if q.isna().all():
        why = _why(found, null)
        missing = "It takes too long" if why == pairs.TOO_MANY else "Not enough prompts"
        return (
            f"{missing} to say which experts of layer {layer_id} prefer each other: no pair can be "
            f"tested ({why})."
        )
    sure = q < SIGNIFICANT
    more = int((sure & (tests[f"z_{null}"] > 0)).sum())
    best = tests.iloc[int(tests[f"z_{null}"].astype(float).argmax())]
    return (
        f"In layer {layer_id}, {more:,} of {len(tests):,} pairs of experts meet more often than "
        f"{WORDS[null]} and {int(sure.sum()) - more:,} less often (q < {SIGNIFICANT}). The surest "
        f"friends are {best.expert_a} and {best.expert_b}: {best.tokens:,} tokens, "
        f"{best[f'lift_{null}']:.1f}× as many. It does not say why they meet: sharing a domain or "
        "a word is enough."
    )


def scope(found: LayerPairs, *, null: Null, shown: int, num_experts: int) -> str:
    """What was tested, on what, and what the marks mean."""
    tested = int(found.tests[f"q_{null}"].notna().sum())
    parts = [
        f"Orange: more, blue: less often. Dot: q < {SIGNIFICANT}. Hatched: no test, for the "
        "reason that shows on a cell.",
        f"Family: the {tested:,} pairs of this layer that can be tested, Benjamini-Hochberg; the "
        f"sample is {found.num_documents:,} texts of {found.num_tokens:,} tokens.",
    ]
    if shown < num_experts:
        parts.append(f"The map shows the {shown} most active of {num_experts} experts.")
    if found.num_documents >= queries.MAX_DOCUMENTS:
        parts.append(f"Read: {queries.MAX_DOCUMENTS:,} texts, always the same.")
    return " ".join(parts)


def _why(found: LayerPairs, null: Null) -> str:
    if found.num_documents < 2:
        return "one text"
    if null == "load":
        return str(found.tests.reason.mode()[0])
    return f"fewer than {excess.MIN_EXPECTED} tokens expected"
