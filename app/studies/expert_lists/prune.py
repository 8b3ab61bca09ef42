"""Which experts could go: those that are chosen least, or get the least weight.

L = MoE layers, E = routed experts.
"""

import numpy as np
import pandas as pd

from analysis.lists import lists as expert_lists
from app.studies.expert_lists.subject import (
    ALL,
    KEPT,
    ExpertList,
    Settings,
    Subject,
    agreed,
    percent,
    surely,
    written,
)
from data.exports.keep_list import keep_list

COUNTED = {"load": "choices", "weight": "weight"}


def make(subject: Subject, settings: Settings) -> ExpertList:
    """ValueError: so many cannot be kept, or there is nothing to choose with."""
    keep, counted = kept(subject, settings.keep), COUNTED[settings.by]
    amount_NLE, experts_L = subject.amounts(settings.by), subject.experts_L
    choose = expert_lists.least(np.full(len(experts_L), keep))
    of = amount_NLE, subject.domain_id_N, choose
    held = expert_lists.held_out(*of, experts_L=experts_L)
    amount_LE = amount_NLE.sum(0, dtype=np.float64)
    listed_LE = expert_lists.chosen(amount_LE, choose, experts_L=experts_L)
    sure_LE = expert_lists.listed_share(*of, experts_L=experts_L)
    total_L1 = np.maximum(amount_LE.sum(-1, keepdims=True), 1e-300)
    measured = subject.rows(held, most=False)
    files, unwritten = written(
        subject, lambda layers: {"llmcompressor": keep_list(layers, amount_LE, keep)}
    )
    return ExpertList(
        settings=settings,
        answer=_answer(measured, listed_LE, experts_L, counted, by_others=held.by_others),
        experts=subject.all_experts().assign(
            listed=subject.of_experts(listed_LE),
            share=subject.of_experts(amount_LE / total_L1),
            sure=subject.of_experts(sure_LE),
        ),
        value_LE=surely(sure_LE, listed_LE, experts_L),
        listed_LE=listed_LE,
        measured=measured,
        by_others=held.by_others,
        notes=(agreed(held), *subject.too_few()),
        files=files,
        unwritten=unwritten,
    )


def kept(subject: Subject, keep: int | None) -> int:
    """How many experts each layer keeps. ValueError: as many as it has, or fewer than a token
    chooses."""
    least, most = int(subject.experts_L.min()), subject.info.num_experts
    chosen = max(layer.top_k or 1 for layer in subject.info.layers)
    if keep is None:
        keep = max(int(KEPT * least), chosen)
    if not chosen <= keep <= least or keep == most:
        smallest = int(subject.experts_L.argmin())
        where = subject.info.layers[smallest].name if least < most else "a layer"
        number = "1 expert" if least == 1 else f"{least} experts"
        largest = min(least, most - 1)
        possible = f"give {chosen} to {largest}" if chosen < largest else f"give {chosen}"
        raise ValueError(
            f"{where} has {number}, of which a token chooses {chosen}, so it cannot keep {keep} "
            f"and lose some; {possible if chosen <= largest else 'every expert is needed'}"
        )
    return keep


def _answer(
    measured: pd.DataFrame,
    listed_LE: np.ndarray,
    experts_L: np.ndarray,
    counted: str,
    *,
    by_others: bool,
) -> str:
    whole = measured.iloc[0]
    number, experts = int(listed_LE.sum()), int(experts_L.sum())
    fewest = "fewest" if counted == "choices" else "least"
    text = (
        f"The {number:,} of {experts:,} experts with the {fewest} {counted} carry {percent(whole)} "
        f"of the {counted}"
    )
    if not by_others:
        return f"{text} of this group of texts, which chose them; random ones {whole.chance:.1%}."
    text += (
        f" in texts that did not choose them; random ones carry {whole.chance:.1%}, and none could "
        f"carry less than {whole.bound:.1%}."
    )
    rows = measured[(measured.name != ALL) & measured.low.notna()]
    if len(rows) < 2:
        return text
    most = rows.sort_values("estimate", kind="stable").iloc[-1]
    return f"{text} Of the domains, {most['name']} would lose the most: {percent(most)}."
