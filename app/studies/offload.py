"""Every cache of `routescope cache`, replayed over one half of the groups of a trace."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from duckdb import DuckDBPyConnection

from analysis.offload.caches import (
    WARM_UP,
    Setting,
    Subject,
    least_slots,
    require_slots,
    usual_slots,
)
from analysis.offload.table import hit_rate_table, prediction_table, subject_of
from analysis.queries import TraceInfo
from data.words import counted

EVERY = [(per_layer, cold) for per_layer in (False, True) for cold in (False, True)]


@dataclass(frozen=True, slots=True)
class Caches:
    hit_rates: pd.DataFrame
    predictions: pd.DataFrame
    parameters: dict[str, int]  # how much was replayed


def measure(
    con: DuckDBPyConnection,
    info: TraceInfo,
    *,
    accesses: int,
    slots: Sequence[int] = (),
    per_layer: bool = False,
    told: Callable[[str], None] = lambda line: None,
) -> Caches:
    """One pool and slots by layer, warm and cold, of the usual sizes if none are given.

    ValueError: a size is none; of slots by layer only where they are asked for (`per_layer`).
    """
    subject = subject_of(con, info, accesses=accesses)
    settings = _settings(subject, slots, per_layer=per_layer)

    def stage(place: int) -> None:
        told(f"stage {place + 1}/{len(settings)}: {_in_words(settings[place])}")

    table = hit_rate_table(subject, settings, told=stage)
    return Caches(table, prediction_table(subject), parameters(subject))


def parameters(subject: Subject) -> dict[str, int]:
    """What was replayed, how many choices of other groups were fitted to, and the least slots that
    can be divided among the layers."""
    requests, fitted = subject.requests, subject.fitted
    return {
        "texts": len(requests.unit_D),
        "shortened": requests.shortened,
        "tokens": requests.num_tokens,
        "accesses": len(requests.expert_A),
        "fitted": 0 if fitted is None else int(fitted.choices_X.sum()),
        "least_by_layer": least_slots(requests, per_layer=True),
    }


def in_words(counts: Mapping[str, Any], num_documents: int, *, whole: bool) -> str:
    """What was replayed; `whole`: by this study, else by a page as a first look."""
    part = "of the half of the groups that judges" if whole else "some texts, a first look"
    if counts["shortened"]:
        part += ", only their beginnings: each is longer than what is replayed"
    fitted = (
        "What is fitted was counted in other groups of texts."
        if counts["fitted"]
        else "No group of texts is left to fit to, so what is fitted is not shown."
    )
    return (
        f"Replayed token by token: {counted(counts['accesses'], 'choice', 'choices')} of "
        f"{counted(counts['tokens'], 'token', 'tokens')} in {counts['texts']:,} of "
        f"{counted(num_documents, 'text', 'texts')} ({part}). A warm cache is filled by the first "
        f"{WARM_UP:.0%} of the tokens, which do not count; a cold one is emptied before every "
        f"text. {fitted}"
    )


def unsure(hit_rates: pd.DataFrame) -> str:
    """Why there are no intervals; empty where there are some."""
    if hit_rates.low.notna().any():
        return ""
    groups = counted(int(hit_rates.n_groups.max()), "group", "groups")
    return f"{groups} of texts, all alike or too few in a domain, do not tell how sure this is"


def _settings(subject: Subject, slots: Sequence[int], *, per_layer: bool) -> list[Setting]:
    settings = []
    for by_layer, cold in EVERY:
        sizes = slots or usual_slots(subject.requests, per_layer=by_layer)
        least = least_slots(subject.requests, per_layer=by_layer)
        for size in sizes:
            setting = Setting(slots=size, per_layer=by_layer, cold=cold)
            if by_layer == per_layer or size >= least:
                require_slots(subject.requests, setting)
                settings.append(setting)
    return settings


def _in_words(setting: Setting) -> str:
    kind = "slots by layer" if setting.per_layer else "one pool"
    return f"{kind}, {'cold' if setting.cold else 'warm'}, {setting.slots:,} slots"
