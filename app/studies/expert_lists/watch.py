"""Which experts to watch: those whose load has drifted, and how far each may go.

N = groups, L = MoE layers, E = routed experts.
"""

import numpy as np
import pandas as pd

from analysis.differences.differences import Sample, load_differences
from analysis.groups import in_words
from analysis.lists.drift import FALSE_ALARMS, alarm_table, periods
from analysis.significance import MAX_Q
from app.studies.expert_lists.subject import ExpertList, Settings, Subject, written
from app.studies.later import require_other_texts
from data.exports.expert_groups import alarms
from data.words import counted

Periods = tuple[Sample, Sample]
NAMES = {"first": "earlier", "second": "later", "estimate": "log2_change"}


def make(subject: Subject, settings: Settings, *, later: Subject | None = None) -> ExpertList:
    """Of the trace and a later one, else of the halves of its texts in the order of capture.
    ValueError: the traces are of different shapes, or there are no two groups of texts."""
    experts_L = subject.experts_L
    before, after = _halves(subject) if later is None else _periods(subject, later)
    table = load_differences(before, after, paired=False).rename(columns=NAMES)
    known = subject.tokens_NLE if later is None else before.tokens_NLE
    bounds = alarm_table(known, experts_L=experts_L, window=settings.window / subject.num_tokens)
    table = table.merge(bounds, on=["layer_id", "expert_id"], suffixes=("", "_alarm"))
    table["note"] = table.note.where(table.note != "", table.pop("note_alarm"))
    table["listed"] = (table.q < MAX_Q).fillna(False).astype(bool)
    shape = subject.info.num_layers, subject.info.num_experts
    value_LE, listed_LE = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    value_LE[table.layer_id, table.expert_id] = table.log2_change
    listed_LE[table.layer_id, table.expert_id] = table.listed
    files, unwritten = written(
        subject,
        lambda layers: {
            "alarms": alarms(layers, bounds, window=settings.window, false_alarms=FALSE_ALARMS)
        },
    )
    return ExpertList(
        settings=settings,
        answer=_answer(table, same_trace=later is None),
        experts=table.sort_values("p", kind="stable", ignore_index=True),
        value_LE=value_LE,
        listed_LE=listed_LE,
        measured=pd.DataFrame(),
        notes=(
            *_samples(before, after),
            *_alone(subject, later),
            *(() if table.q.notna().any() else subject.too_few()),
        ),
        files=files,
        unwritten=unwritten,
    )


def _halves(subject: Subject) -> Periods:
    tokens_NLE, domain_id_N = subject.tokens_NLE, subject.domain_id_N
    halves = periods(tokens_NLE.sum((1, 2)), domain_id_N)
    if not halves[0].any():
        raise ValueError(
            "no domain has two groups of texts, an earlier and a later one; choose a later trace "
            "to "
            "compare with"
        )
    before, after = (
        Sample(tokens_NLE[of_N], domain_id_N[of_N], subject.experts_L) for of_N in halves
    )
    return before, after


def _periods(subject: Subject, later: Subject) -> Periods:
    require_other_texts(subject.info, later.info)
    """With the domains of both in one order."""
    sizes = subject.experts_L, later.experts_L
    if sizes[0].tolist() != sizes[1].tolist():
        raise ValueError(
            f"{subject.info.name} has {_shape(sizes[0])} and {later.info.name} {_shape(sizes[1])}; "
            "drift is of one model, so both need the same"
        )
    domains = pd.Index(list(dict.fromkeys([*subject.info.domains, *later.info.domains])))
    ids = domains.get_indexer(pd.Index(later.info.domains))[later.domain_id_N]
    return (
        Sample(subject.tokens_NLE, subject.domain_id_N, sizes[0]),
        Sample(later.tokens_NLE, ids, sizes[1]),
    )


def _shape(experts_L: np.ndarray) -> str:
    least, most = int(experts_L.min()), int(experts_L.max())
    experts = f"{least}" if least == most else f"{least} to {most}"
    return f"{counted(len(experts_L), 'layer', 'layers')} of {experts} experts"


def _samples(before: Sample, after: Sample) -> tuple[str, ...]:
    first, second = (in_words(len(of.domain_id_N), len(of.domain_id_N)) for of in (before, after))
    return (
        f"Before: {first.replace('text', 'group')}; after: {second.replace('text', 'group')}. The "
        "mix of domains of each period is taken as it is.",
    )


def _alone(subject: Subject, later: Subject | None) -> tuple[str, ...]:
    """Domains that have no earlier and later texts."""
    domains, groups = np.unique(subject.domain_id_N, return_counts=True)
    alone = [subject.info.domains[place] for place in domains[groups == 1].tolist()]
    if later is not None or not alone:
        return ()
    return (f"Left out, with one group of texts each: {', '.join(alone)}.",)


def _answer(table: pd.DataFrame, *, same_trace: bool) -> str:
    where = "between the earlier and the later texts" if same_trace else "between the two traces"
    tested, listed = int(table.q.notna().sum()), table[table.listed]
    if not tested:
        return f"There are not enough independent texts to say whether a load drifts {where}."
    if listed.empty:
        return (
            f"The load of none of {tested:,} experts drifts {where}: no change is larger than the "
            "choice of texts explains."
        )
    farthest = listed.sort_values("log2_change", key=lambda of: of.abs(), kind="stable").iloc[-1]
    return (
        f"The load of {len(listed):,} of {tested:,} experts drifts {where} (q < {MAX_Q}): most of "
        f"all that of expert {farthest.expert_id} in layer {farthest.layer_id}, from "
        f"{farthest.earlier:.2%} to {farthest.later:.2%} of its layer's choices."
    )
