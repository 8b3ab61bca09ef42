"""Which experts a text calibrates well enough to be quantized, and how much more it would take.

L = MoE layers, E = routed experts.
"""

import numpy as np
import pandas as pd

from analysis.lists import lists as expert_lists
from analysis.lists.coverage import GROUPS, NEVER, RARE, coverage_table, usage_groups
from app.studies.expert_lists.subject import (
    ExpertList,
    Settings,
    Subject,
    measured_table,
    written,
)
from data.exports.expert_groups import group_table


def make(subject: Subject, settings: Settings) -> ExpertList:
    tokens_NLE, experts_L, needed = subject.tokens_NLE, subject.experts_L, settings.needed
    tokens_LE = tokens_NLE.sum(0, dtype=np.int64)
    group_LE = usage_groups(tokens_LE, needed=needed, experts_L=experts_L)
    table = coverage_table(tokens_NLE, subject.domain_id_N, experts_L=experts_L, needed=needed)
    places = np.where(np.arange(tokens_LE.shape[1]) < experts_L[:, None], tokens_LE, np.nan)
    with np.errstate(divide="ignore"):
        value_LE = np.log2(places / needed)
    files, unwritten = written(
        subject, lambda layers: {"groups": group_table(layers, group_LE, GROUPS)}
    )
    return ExpertList(
        settings=settings,
        answer=_answer(table, subject.num_tokens, needed),
        experts=table.assign(listed=table.group == RARE),
        value_LE=value_LE,
        listed_LE=group_LE == GROUPS.index(RARE),
        measured=_measured(subject, needed),
        by_others=len(subject.domain_id_N) > 1,
        notes=subject.too_few(),
        files=files,
        unwritten=unwritten,
    )


def _measured(subject: Subject, needed: int) -> pd.DataFrame:
    """What each group of experts carries where it was not counted: chance is its part of the
    experts."""
    tokens_NLE, everywhere = subject.tokens_NLE, np.ones(len(subject.domain_id_N), dtype=bool)
    total_L = np.maximum(tokens_NLE.sum((0, 2), dtype=np.float64), 1)
    rows, groups = {}, {}
    for place, name in enumerate(GROUPS):

        def choose(layer_id: int, amount_XE: np.ndarray, place: int = place) -> np.ndarray:
            """Of part of the texts, with as many tokens as all would have."""
            scale_X1 = total_L[layer_id] / np.maximum(amount_XE.sum(-1, keepdims=True), 1)
            whole_XE = amount_XE * scale_X1
            experts_X = np.full(len(whole_XE), whole_XE.shape[1])
            return usage_groups(whole_XE, needed=needed, experts_L=experts_X) == place

        held = expert_lists.held_out(
            tokens_NLE, subject.domain_id_N, choose, experts_L=subject.experts_L
        )
        rows[name], groups[name] = held.measured(everywhere, most=None), len(everywhere)
    return measured_table(rows, groups)


def _held(rare: pd.DataFrame) -> str:
    """For how many of them other texts would say the same; empty where that is not known."""
    if rare.times_low.isna().all():
        return ""
    return (
        f"; for {int(rare.sure.sum()):,} of them that would hold for other texts of this kind and "
        "length"
    )


def _answer(table: pd.DataFrame, num_tokens: int, needed: int) -> str:
    rare = table[table.group == RARE]
    if rare.empty:
        fewest = int(table.tokens.min())
        return (
            f"Every expert has the {needed:,} tokens that calibration asks for; the rarest has "
            f"{fewest:,}."
        )
    text = (
        f"{len(rare):,} of {len(table):,} experts have fewer than the {needed:,} tokens that "
        f"calibration asks for{_held(rare)}."
    )
    never = int((rare.note == NEVER).sum())
    if never == len(rare):
        return f"{text} None of them was ever chosen."
    worst = rare.dropna(subset="times").sort_values("times").iloc[-1]
    span = ""
    if pd.notna(worst.times_low):
        most = "" if pd.isna(worst.times_high) else f" to {_tokens(worst.times_high, num_tokens)}"
        span = f" ({_tokens(worst.times_low, num_tokens)}{most or ' or more'})"
    besides = f", besides the {never:,} never chosen" if never else ""
    return (
        f"{text} About {_tokens(worst.times, num_tokens)} tokens{span} of such text would cover "
        f"every one{besides}; this trace has {num_tokens:,}."
    )


def _tokens(times: float, num_tokens: int) -> str:
    """To two figures: it is an estimate."""
    tokens = times * num_tokens
    digits = max(int(np.floor(np.log10(max(tokens, 1)))) - 1, 0)
    return f"{round(tokens, -digits):,.0f}"
