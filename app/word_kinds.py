"""What `routescope index` lays beside a trace: its words, and the experts of those that occur too
often for a search to read all of their choices."""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from data.sidecar_kind import COUNT, TEXT, Column, Facts, Kind, whole

MOST_CELLS = 1 << 21  # words x experts of all layers, whose choices are added up


def _word_columns(trace: Facts) -> Mapping[str, Column]:
    return {"text": TEXT, "tokens": COUNT, "n_documents": COUNT, "n_groups": COUNT}


def _sum_columns(trace: Facts) -> Mapping[str, Column]:
    return {
        "text": TEXT,
        "layer_id": whole(below=trace.num_layers),
        "expert_id": whole(below=trace.num_experts),
        **dict.fromkeys(("tokens", "squares", "by_length"), COUNT),
    }


def _once(frame: pd.DataFrame, trace: Facts) -> bool:
    """Each word, and in no more texts than it occurs."""
    ordered = (frame.n_groups <= frame.n_documents) & (frame.n_documents <= frame.tokens)
    known = (frame.n_groups > 0) & (frame.n_documents <= trace.num_documents)
    return bool((ordered & known).all() and frame.text.is_unique)


def _of_experts(frame: pd.DataFrame, trace: Facts) -> bool:
    """Each cell once, and its sums can be such."""
    ordered = (frame.tokens <= frame.squares) & (frame.squares <= frame.by_length)
    known = (frame.tokens > 0) & (frame.expert_id < trace.layer_sizes[frame.layer_id])
    return bool(
        (ordered & known).all() and not frame.duplicated(["text", "layer_id", "expert_id"]).any()
    )


_index = partial(Kind, command="routescope index", version=1, parameters={})

WORD_EXPERTS = _index(
    name="word_experts",
    columns=_sum_columns,
    rows=lambda trace: (0, MOST_CELLS),
    agrees=_of_experts,
)
WORDS = _index(
    name="words", columns=_word_columns, rows=lambda trace: (0, trace.num_tokens), agrees=_once
)
BY_INDEX = (WORD_EXPERTS, WORDS)  # in this order: who finds the words finds both
