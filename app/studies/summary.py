"""The tables of a trace that take longer than a page may, each stored beside it when it is made."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from duckdb import DuckDBPyConnection

from analysis.bootstrap import RESAMPLES
from analysis.queries import TraceInfo
from app import summary_kinds as kinds
from app.studies import statistics
from app.studies.statistics import Groups
from data.sidecar import Sidecar, read_sidecar, write_sidecar
from data.sidecar_kind import Kind
from data.words import counted

LARGE = 2**21  # experts of all layers x (texts + RESAMPLES): beyond it pages would take seconds
Result = tuple[pd.DataFrame, Mapping[str, object]]
Make = Callable[[DuckDBPyConnection, Groups], Result]


def is_large(info: TraceInfo) -> bool:
    """Pages show estimates of it until its tables are stored."""
    return (info.num_documents + RESAMPLES) * int(info.layer_sizes.sum()) > LARGE


def is_corpus(info: TraceInfo) -> bool:
    """Its texts name their source and sublabel."""
    return (groups_said(info) or {}).get("from") == "corpus"


def groups_said(info: TraceInfo) -> dict[str, Any] | None:
    """How documents came by their groups (Grouping.described); None: format 3 does not say."""
    capture = info.config.get("capture")
    return capture.get("groups") if isinstance(capture, dict) else None


def wanted(info: TraceInfo) -> tuple[Kind, ...]:
    return tuple(kind for kind in kinds.BY_SUMMARY if kind is not kinds.UNITS or is_corpus(info))


def summarize(
    con: DuckDBPyConnection,
    info: TraceInfo,
    path: Path,
    *,
    on_stage: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> list[str]:
    """Make what is missing or cannot be used; the names of the files. What was made before an
    interruption stays. ValueError: a file of somebody else's has its name."""
    missing = [
        kind for kind in wanted(info) if not isinstance(read_sidecar(path, kind, of=info), Sidecar)
    ]
    if not missing:
        return []
    on_stage(0, len(missing), f"reading {counted(info.num_documents, 'text', 'texts')}")
    groups, written = Groups.of(con, info), []
    for place, kind in enumerate(missing):
        words, make = MADE[kind.name]
        on_stage(place, len(missing), words)
        frame, parameters = make(con, groups)
        written.append(write_sidecar(path, kind, frame, parameters, of=info).name)
    return written


def stored(path: Path, kind: Kind, info: TraceInfo) -> pd.DataFrame | None:
    """A table as statistics.py gives it; None: it was not made, or cannot be used."""
    found = read_sidecar(path, kind, of=info)
    return typed(found.frame, kind, info) if isinstance(found, Sidecar) else None


def typed(frame: pd.DataFrame, kind: Kind, info: TraceInfo) -> pd.DataFrame:
    """Numbers that may be missing as the statistics have them."""
    columns = kind.columns(info)
    optional = [name for name, column in columns.items() if column.optional and name in frame]
    numbers = [name for name in optional if not columns[name].is_text]
    return frame.astype(dict.fromkeys(numbers, "Float64"))


def _sample(con: DuckDBPyConnection, groups: Groups) -> Result:
    grouped = groups_said(groups.info) is not None
    frame = statistics.by_domain(con, groups, grouped=grouped)
    return frame, {"limits": statistics.limits(groups)}


def _loads(con: DuckDBPyConnection, groups: Groups) -> Result:
    """Of all texts, then of each domain that has any."""
    parts = [statistics.loads(groups).assign(of_domain=None)]
    for domain in groups.present():
        parts.append(statistics.loads(groups.domain(domain)).assign(of_domain=domain))
    return _joined(parts, kinds.LOADS, groups.info), {}


def _metrics(con: DuckDBPyConnection, groups: Groups) -> Result:
    """Of all texts, of each domain that has any, and of low-resource languages."""
    parts = [statistics.metrics(groups).assign(of_domain=None, low_resource=False)]
    for domain in groups.present():
        table = statistics.metrics(groups.domain(domain))
        parts.append(table.assign(of_domain=domain, low_resource=False))
    low = statistics.low_resource_metrics(con, groups.info)
    if low is not None:
        parts.append(low.assign(of_domain=None, low_resource=True))
    return _joined(parts, kinds.METRICS, groups.info), {}


def _joined(parts: list[pd.DataFrame], kind: Kind, info: TraceInfo) -> pd.DataFrame:
    frame = pd.concat([part.astype({"of_domain": "str"}) for part in parts], ignore_index=True)
    return frame[list(kind.columns(info))]


def _of_groups(make: Callable[[Groups], pd.DataFrame], con: object, groups: Groups) -> Result:
    return make(groups), {}


MADE: dict[str, tuple[str, Make]] = {  # what a command says meanwhile, and the table
    kinds.LIFTS.name: ("lifts of every expert and domain", partial(_of_groups, statistics.lifts)),
    kinds.COUNTS.name: ("experts of each domain", partial(_of_groups, statistics.counts)),
    kinds.METRICS.name: ("figures of every layer", _metrics),
    kinds.LOADS.name: ("loads of every expert", _loads),
    kinds.SAMPLE.name: ("the sample of each domain", _sample),
    kinds.UNITS.name: (
        "specialists by unit of evidence",
        lambda con, groups: (statistics.by_unit(con, groups.info), {}),
    ),
    kinds.REPLICATION.name: (
        "specialists in other texts",
        partial(_of_groups, statistics.replicated),
    ),
}
