"""What a training's log and snapshots amount to, one table per figure. L = MoE layers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from analysis.domain_counts import ALL_LAYERS, domain_counts
from analysis.emergence import domain_experts, domain_information, tokens_by_domain
from analysis.saturation import saturation_table
from analysis.specialization import (
    TOO_FEW,
    domain_lift,
    expert_domain,
    label_names,
)
from app.views.training.record import TrainingRecord
from data.labels import ANY, NONE, TOO_LITTLE
from data.snapshots import RoutingSnapshots


def compares_domains(record: TrainingRecord) -> bool:
    snapshots = record.snapshots
    return snapshots is not None and len(np.unique(snapshots.domain_id_N)) > 1


def num_layers(snapshots: RoutingSnapshots) -> int:
    return snapshots.tokens_NLE[snapshots.steps[-1]].shape[1]


def saturation(record: TrainingRecord) -> pd.DataFrame:
    """step, tokens, layer_id, saturation, null; no row without snapshots."""
    if record.snapshots is None:
        return pd.DataFrame(columns=["step", "tokens", "layer_id", "saturation", "null"])
    return _with_tokens(_saturation(record.snapshots_identity, _snapshots=record.snapshots), record)


def experts(record: TrainingRecord) -> pd.DataFrame:
    """step, tokens, domain, experts, null; no row without snapshots of two domains."""
    if record.snapshots is None or not compares_domains(record):
        return pd.DataFrame(columns=["step", "tokens", "domain", "experts", "null"])
    return _with_tokens(_experts(record.snapshots_identity, _snapshots=record.snapshots), record)


def information(record: TrainingRecord) -> pd.DataFrame:
    """step, tokens, layer_id, information_share, null; no row without snapshots of two domains."""
    if record.snapshots is None or not compares_domains(record):
        return pd.DataFrame(columns=["step", "tokens", "layer_id", "information_share", "null"])
    return _with_tokens(
        _information(record.snapshots_identity, _snapshots=record.snapshots), record
    )


def with_a_domain(record: TrainingRecord) -> pd.DataFrame:
    """step, tokens, experts, share of all experts, null: how many prefer any domain."""
    table = experts(record)
    own = table[~table.domain.isin([TOO_LITTLE, NONE])].groupby(["step", "tokens"], as_index=False)
    total = table.groupby("step").experts.sum().max()
    summed = own[["experts", "null"]].sum()
    return summed.assign(share=summed.experts / total, null=summed.null / total)


@dataclass(frozen=True, slots=True)
class Range:
    """The share of experts with a domain at the last snapshot: other texts, and chance."""

    share: float
    low: float  # NaN where too few texts to say
    high: float
    null: float


@st.cache_data(max_entries=32, show_spinner="Resampling texts")
def last_share(identity: str, *, _snapshots: RoutingSnapshots) -> Range:
    tokens_NLE = _snapshots.tokens_NLE[_snapshots.steps[-1]]
    table = domain_counts(tokens_NLE, _snapshots.domain_id_N, domains=_snapshots.domains)
    own = table[(table.layer_id == ALL_LAYERS) & (table.domain == ANY)]
    counted = domain_experts(tokens_NLE, _snapshots.domain_id_N, domains=_snapshots.domains)
    total = counted.experts.sum()
    ends = own[["low", "high", "null"]].to_numpy(float, na_value=np.nan)[0]
    low, high, null = (ends / total).tolist()
    return Range(counted.experts.iloc[:-2].sum() / total, low, high, null)


def too_small(snapshots: RoutingSnapshots) -> float:
    """Share of experts that the last snapshot's sample gives too few choices to have a domain."""
    return float((expert_domain(_last_by_domain(snapshots)) == TOO_FEW).mean())


@dataclass(frozen=True, slots=True)
class Frame:
    """One layer at one snapshot."""

    step: int
    lift_EG: np.ndarray
    domain_E: np.ndarray  # as expert_domain()


def frames(snapshots: RoutingSnapshots, layer_id: int) -> list[Frame]:
    drawn = []
    for step, tokens_NLE in snapshots.tokens_NLE.items():
        tokens_LEG = tokens_by_domain(
            tokens_NLE[:, [layer_id]], snapshots.domain_id_N, num_domains=len(snapshots.domains)
        )
        drawn.append(Frame(step, domain_lift(tokens_LEG)[0], expert_domain(tokens_LEG)[0]))
    return drawn


def frames_table(frames: list[Frame], domains: tuple[str, ...]) -> pd.DataFrame:
    """step, expert_id, prefers, domain, lift."""
    names = label_names(domains)
    num_experts, num_domains = frames[0].lift_EG.shape
    tables = [
        pd.DataFrame(
            {
                "step": frame.step,
                "expert_id": np.repeat(np.arange(num_experts), num_domains),
                "prefers": np.repeat([names[domain] for domain in frame.domain_E], num_domains),
                "domain": [*domains] * num_experts,
                "lift": frame.lift_EG.ravel(),
            }
        )
        for frame in frames
    ]
    return pd.concat(tables, ignore_index=True)


def _last_by_domain(snapshots: RoutingSnapshots) -> np.ndarray:
    last_NLE = snapshots.tokens_NLE[snapshots.steps[-1]]
    return tokens_by_domain(last_NLE, snapshots.domain_id_N, num_domains=len(snapshots.domains))


def _with_tokens(table: pd.DataFrame, record: TrainingRecord) -> pd.DataFrame:
    table = table.copy()
    table.insert(1, "tokens", record.tokens_at(table.step))
    return table


@st.cache_data(max_entries=32, show_spinner="Comparing snapshots")
def _saturation(identity: str, *, _snapshots: RoutingSnapshots) -> pd.DataFrame:
    return saturation_table(_snapshots.steps, _snapshots.choices)


@st.cache_data(max_entries=32, show_spinner="Counting experts by domain")
def _experts(identity: str, *, _snapshots: RoutingSnapshots) -> pd.DataFrame:
    return _by_step(domain_experts, _snapshots)


@st.cache_data(max_entries=32, show_spinner="Counting experts by domain")
def _information(identity: str, *, _snapshots: RoutingSnapshots) -> pd.DataFrame:
    return _by_step(domain_information, _snapshots)


def _by_step(table_at: Callable[..., pd.DataFrame], snapshots: RoutingSnapshots) -> pd.DataFrame:
    tables = {
        step: table_at(tokens_NLE, snapshots.domain_id_N, domains=snapshots.domains)
        for step, tokens_NLE in snapshots.tokens_NLE.items()
    }
    return pd.concat(tables, names=["step", None]).reset_index("step").reset_index(drop=True)
