"""The pairs of one layer of a trace: tested once, as a table and in words."""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from analysis import arrays, pair_table, queries
from analysis.coactivation import pairs_beyond_loads
from analysis.excess import NO_OTHER
from analysis.groups import in_words
from analysis.pair_table import Null
from analysis.pairs import TOO_MANY, pair_significance
from analysis.significance import MAX_Q
from app import stored
from app.trace import BY_IDENTITY, Trace
from app.views.shared.heatmap import ZOOM, crowded, sure_mark
from app.views.shared.sampled import sampled

EXPLANATION: dict[Null, str] = {
    "load": "the loads of the experts explain",
    "uniform": "choosing experts at random explains",
}


@dataclass(frozen=True, slots=True)
class LayerPairs:
    tests: pd.DataFrame  # of pair_significance, no row where there are no pairs
    counts: dict[str, int]  # n_documents and n_groups read, n_tokens routed in the layer
    reason: str  # why there are no pairs


@st.cache_resource(max_entries=16, show_spinner="Testing every pair", hash_funcs=BY_IDENTITY)
def layer_pairs(trace: Trace, layer_id: int) -> LayerPairs:
    with trace.cursor() as con:
        choices = arrays.layer_sample(con, trace.info, layer_id)
    num_experts = trace.info.layers[layer_id].num_experts
    chosen_TE, group_T = arrays.choice_array(choices, num_experts)
    counts = {"n_documents": choices.doc_id.nunique(), "n_groups": choices.unit.nunique()}
    try:
        tests, reason = pair_significance(chosen_TE, group_T), ""
    except ValueError as error:
        tests, reason = pd.DataFrame(), str(error)
    return LayerPairs(tests, counts | {"n_tokens": len(chosen_TE)}, reason)


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=BY_IDENTITY)
def beyond_loads(trace: Trace) -> list[float]:
    """pairs_beyond_loads of every layer; NaN where no token chose two experts."""
    with trace.cursor() as con:
        pairs_L = arrays.layer_pairs(queries.all_pairs(con), trace.info)
    return [
        pairs_beyond_loads(pairs_EE, tokens_E[: len(pairs_EE)])
        for pairs_EE, tokens_E in zip(pairs_L, stored.expert_tokens(trace), strict=True)
    ]


def layer_table(trace: Trace, layer_id: int, *, null: Null) -> pd.DataFrame:
    """The pair_table of a layer; no row where it has no pairs."""
    pairs = layer_pairs(trace, layer_id)
    if pairs.tests.empty:
        return pairs.tests
    return pair_table.pair_table(pairs.tests, layer_id=layer_id, null=null, counts=pairs.counts)


def pairs_answer(pairs: LayerPairs, *, layer: str, null: Null) -> str:
    tests, q = pairs.tests, pairs.tests[f"q_{null}"]
    if q.isna().all():
        why = _why_untested(pairs, null)
        begins = {TOO_MANY: "There are too many experts", NO_OTHER: "There is no way"}
        return (
            f"{begins.get(why, 'Not enough independent texts')} to say which experts of {layer} "
            f"prefer each other: no pair can be tested ({why})."
        )
    significant = q < MAX_Q
    more = int((significant & (tests[f"z_{null}"] > 0)).sum())
    return (
        f"In {layer}, {more:,} of {len(tests):,} pairs of experts are chosen together "
        f"more often than {EXPLANATION[null]}, and {int(significant.sum()) - more:,} less often "
        f"(q < {MAX_Q}).{_clearest(pairs, null=null) if more else ''} The test does not say why: "
        "sharing a domain or a word is enough."
    )


def _clearest(pairs: LayerPairs, *, null: Null) -> str:
    """Of those chosen together more often."""
    pair = pairs.tests.iloc[int(pairs.tests[f"z_{null}"].astype(float).argmax())]
    return (
        f" The clearest of the former is {pair.expert_a} and {pair.expert_b}: {pair.tokens:,} of "
        f"the {pairs.counts['n_tokens']:,} tokens read chose both, {pair[f'lift_{null}']:.1f}× as "
        "many as expected."
    )


def heatmap_note(
    trace: Trace, pairs: LayerPairs, *, null: Null, shown: int, num_experts: int
) -> str:
    """What was tested, on what, and what the marks mean."""
    tested = int(pairs.tests[f"q_{null}"].notna().sum())
    n_documents = pairs.counts["n_documents"]
    many = crowded(shown, shown)
    parts = [
        f"Orange: more often than expected, blue: less often. {sure_mark(crowded=many)}: q < "
        f"{MAX_Q}. {'Grey' if many else 'Hatched'}: not tested; point at a cell for the reason."
        + (ZOOM if many else ""),
        f"Tested at once: the {tested:,} testable pairs of this layer (Benjamini-Hochberg), on "
        f"{in_words(n_documents, pairs.counts['n_groups'])} with {pairs.counts['n_tokens']:,} "
        f"tokens.{sampled(trace.info, pairs.counts)}",
    ]
    if shown < num_experts:
        parts.append(f"The heatmap shows the {shown} busiest of {num_experts} experts.")
    parts.append("The table has all pairs, the clearest first (estimate: log2 lift).")
    return " ".join(parts)


def _why_untested(pairs: LayerPairs, null: Null) -> str:
    reasons = pair_table.pair_table(pairs.tests, layer_id=0, null=null, counts=pairs.counts).reason
    return str(reasons.mode()[0])
