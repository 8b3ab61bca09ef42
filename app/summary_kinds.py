"""What `routescope summarize` lays beside a trace: the tables of statistics.py, complete."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from analysis import replication
from analysis.metric_intervals import DOMAIN_METRICS, LOAD_METRICS
from data.sidecar_kind import (
    COUNT,
    FLAG,
    LARGEST,
    NUMBER,
    NUMBER_IF_ANY,
    TEXT,
    TEXT_IF_ANY,
    Column,
    Facts,
    Kind,
    whole,
)

METRICS_OF_A_LAYER = [metric.__name__ for metric in (*LOAD_METRICS, *DOMAIN_METRICS)]
TESTED = dict.fromkeys(("estimate", "low", "high", "p", "q"), NUMBER_IF_ANY)


def _cell(trace: Facts) -> dict[str, Column]:
    return {
        "layer_id": whole(below=trace.num_layers),
        "expert_id": whole(below=trace.num_experts),
    }


def _sample_columns(trace: Facts) -> Mapping[str, Column]:
    return {
        "domain": TEXT,
        "n_documents": COUNT,
        "n_groups": COUNT,
        "effective_number": NUMBER,
        "design_effect": NUMBER_IF_ANY,
        "n_tokens": COUNT,
    }


def _lift_columns(trace: Facts) -> Mapping[str, Column]:
    return {
        **_cell(trace),
        "domain": TEXT,
        **TESTED,
        "n_groups": COUNT,
        "n_tokens": COUNT,
        "smallest_detectable": NUMBER_IF_ANY,
        "enough": FLAG,
        "note": TEXT,
    }


def _load_columns(trace: Facts) -> Mapping[str, Column]:
    return {
        "of_domain": TEXT_IF_ANY,
        **_cell(trace),
        **TESTED,
        "n_groups": COUNT,
        "n_tokens": COUNT,
        "enough": FLAG,
        "note": TEXT,
    }


def _metric_columns(trace: Facts) -> Mapping[str, Column]:
    numbers = ("estimate", "corrected", "low", "high", "null", "p", "q")
    return {
        "of_domain": TEXT_IF_ANY,
        "low_resource": FLAG,
        "layer_id": whole(below=trace.num_layers),
        "metric": TEXT,
        **dict.fromkeys(numbers, NUMBER_IF_ANY),
        "note": TEXT,
    }


def _count_columns(trace: Facts) -> Mapping[str, Column]:
    return {
        "layer_id": whole(least=-1, below=trace.num_layers),  # -1: all of them
        "domain": TEXT,
        **dict.fromkeys(("low", "high", "null", "p", "q"), NUMBER_IF_ANY),
        "n_tokens": COUNT,
        "note": TEXT,
    }


def _replication_columns(trace: Facts) -> Mapping[str, Column]:
    known = {"check": TEXT, "n_groups": COUNT, "n_tokens": COUNT, "note": TEXT}
    return {name: known.get(name, NUMBER_IF_ANY) for name in replication.COLUMNS}


def _unit_columns(trace: Facts) -> Mapping[str, Column]:
    return {"unit": TEXT, "n_units": COUNT, "specialists": COUNT, "too_few": TEXT}


def _num_experts(trace: Facts) -> int:
    return int(trace.layer_sizes.sum())


def _every_cell(trace: Facts) -> tuple[np.ndarray, np.ndarray]:
    """layer_id and expert_id of every expert, in order."""
    sizes_L = trace.layer_sizes
    expert_id = np.concatenate([np.arange(size) for size in sizes_L])
    return np.repeat(np.arange(len(sizes_L)), sizes_L), expert_id


def _goes_together(frame: pd.DataFrame) -> bool:
    """Both ends of an interval, and both numbers of a test, or neither."""
    pairs = (("low", "high"), ("p", "q"))
    return all((frame[one].isna() == frame[other].isna()).all() for one, other in pairs)


def _is_estimated(frame: pd.DataFrame) -> bool:
    """What has an interval or a test has an estimate."""
    known = frame.low.notna() | frame.p.notna()
    return bool(_goes_together(frame) and frame.estimate[known].notna().all())


def _counts_once(frame: pd.DataFrame, trace: Facts) -> bool:
    return bool(_goes_together(frame) and not frame.duplicated(["layer_id", "domain"]).any())


def _is_every_cell(frame: pd.DataFrame, trace: Facts) -> bool:
    layer_id, expert_id = _every_cell(trace)
    return bool((frame.layer_id == layer_id).all() and (frame.expert_id == expert_id).all())


def _lifts_of_every_cell(frame: pd.DataFrame, trace: Facts) -> bool:
    """Every expert with all domains, in the same order."""
    num_domains = len(frame) // _num_experts(trace)
    if num_domains * _num_experts(trace) != len(frame):
        return False
    domain_id, domains = pd.factorize(frame.domain)
    in_order = (domain_id.reshape(-1, num_domains) == np.arange(num_domains)).all()
    known = in_order and len(domains) == num_domains and _is_estimated(frame)
    return bool(known) and all(
        _is_every_cell(frame.iloc[first::num_domains], trace) for first in range(num_domains)
    )


def _loads_of_every_cell(frame: pd.DataFrame, trace: Facts) -> bool:
    """Of all texts, and of every domain once."""
    parts = [rows for _, rows in frame.groupby("of_domain", sort=False, dropna=False)]
    whole = frame.of_domain.isna().sum() == _num_experts(trace)
    return bool(whole and _is_estimated(frame)) and all(
        len(rows) == _num_experts(trace) and _is_every_cell(rows, trace) for rows in parts
    )


def _metrics_of_every_layer(frame: pd.DataFrame, trace: Facts) -> bool:
    """Of all texts, and of every domain and of low-resource languages at most once."""
    layer_id = np.repeat(np.arange(trace.num_layers), len(METRICS_OF_A_LAYER))
    names = METRICS_OF_A_LAYER * trace.num_layers
    parts = [
        rows for _, rows in frame.groupby(["of_domain", "low_resource"], sort=False, dropna=False)
    ]
    whole = (frame.of_domain.isna() & ~frame.low_resource).any()
    return bool(whole and _is_estimated(frame)) and all(
        rows.layer_id.tolist() == layer_id.tolist() and rows.metric.tolist() == names
        for rows in parts
    )


def _both_checks(frame: pd.DataFrame, trace: Facts) -> bool:
    return frame.check.tolist() == ["split_half", "unseen_documents"]


_summary = partial(Kind, command="routescope summarize", version=1)

SAMPLE = _summary(
    name="sample",
    columns=_sample_columns,
    rows=lambda trace: (1, LARGEST),
    parameters={"limits": list},
)
LIFTS = _summary(
    name="lifts",
    columns=_lift_columns,
    rows=lambda trace: (_num_experts(trace), LARGEST),
    parameters={},
    agrees=_lifts_of_every_cell,
)
COUNTS = _summary(
    name="domain_counts",
    columns=_count_columns,
    rows=lambda trace: (0, LARGEST),
    parameters={},
    agrees=_counts_once,
)
METRICS = _summary(
    name="metrics",
    columns=_metric_columns,
    rows=lambda trace: (trace.num_layers, LARGEST),
    parameters={},
    agrees=_metrics_of_every_layer,
)
LOADS = _summary(
    name="loads",
    columns=_load_columns,
    rows=lambda trace: (_num_experts(trace), LARGEST),
    parameters={},
    agrees=_loads_of_every_cell,
)
UNITS = _summary(
    name="units",
    columns=_unit_columns,
    rows=lambda trace: (0, 4),
    parameters={},
)
REPLICATION = _summary(
    name="replication",
    columns=_replication_columns,
    rows=lambda trace: (2, 2),
    parameters={},
    agrees=_both_checks,
)
BY_SUMMARY = (LIFTS, COUNTS, METRICS, LOADS, SAMPLE, UNITS, REPLICATION)  # in this order
