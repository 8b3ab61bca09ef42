"""Placements side by side, on texts that made none of them: 95 % intervals by resampling groups.

N = groups, L = MoE layers, E = routed experts, H = GPUs, V = samples of the groups: as they are,
drawn again, and with each group left out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from analysis.bootstrap import RESAMPLES, basic_interval, bootstrap_weights, jackknife_quantile
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_number
from analysis.placement import costs
from analysis.placement.maps import Placement, random_placement
from analysis.placement.sample import Choices, Loads

BUSIEST, SGLANG, VLLM, VLLM_BEFORE_FIX, READ, READ_MOST, GPUS, NODES = MEASURES = (
    "busiest_gpu",
    "balancedness_sglang",
    "balancedness_vllm",
    "balancedness_vllm_before_fix",
    "experts_read",
    "experts_read_most",
    "gpus_reached",
    "nodes_reached",
)
BALANCED = dict.fromkeys((BUSIEST, SGLANG, VLLM), 1.0)
LIMITS = dict.fromkeys((BUSIEST, GPUS, NODES), (1.0, np.inf)) | dict.fromkeys(
    (SGLANG, VLLM, VLLM_BEFORE_FIX), (0.0, 1.0)
)
UNJUDGED = (
    "there are no other texts to judge the maps, which are measured on those that made them: on "
    "others they are worth less"
)
RANDOM_MAPS = 5
AT_ONCE = 128  # samples: what they hold stays small
ENDS = ("estimate", "low", "high")
CHANGES = ("change", "change_low", "change_high")
NUMBERS = (*ENDS, *CHANGES, "random", "balanced")
COLUMNS = ("plan", "measure", *NUMBERS, "n_groups", "n_tokens", "note")


@dataclass(frozen=True, slots=True)
class Judges:
    """Texts on which maps are measured."""

    loads: Loads
    domain_id_N: np.ndarray
    choices: Choices | None  # of some of them; None: the source only counts
    batch: int
    made_none: bool = True  # of the maps; else these very texts did

    def of_choices(self) -> "Judges | None":
        """Those of which single choices are read. None: of none."""
        if self.choices is None:
            return None
        group_T = self.choices.group_T
        kept_N = np.bincount(group_T[group_T >= 0], minlength=len(self.domain_id_N)) > 0
        if kept_N.all():
            return self
        return replace(
            self,
            loads=self.loads.of(kept_N),
            domain_id_N=self.domain_id_N[kept_N],
            choices=self.choices.of(kept_N, None),
        )

    def num_tokens(self) -> int:
        """Where they are unknown, choices of the layer that has most."""
        if self.loads.size_N is not None:
            return int(self.loads.size_N.sum())
        return int(self.loads.tokens_NLE.sum((0, 2), dtype=np.int64).max())

    def note(self) -> str:
        """Why it is not said how sure a figure is; empty where it is."""
        if not self.made_none:
            return UNJUDGED
        effective = effective_number(self.loads.tokens_NLE.sum((1, 2), dtype=np.float64))
        if effective >= MIN_EFFECTIVE:
            return ""
        return (
            f"{NOT_ENOUGH} how sure this is: {effective:.1f} of equal length, and {MIN_EFFECTIVE} "
            "are needed"
        )

    def strata(self) -> np.ndarray:
        """Domains, if each has two groups to draw from; else all are of one."""
        _, domain_N, groups = np.unique(self.domain_id_N, return_inverse=True, return_counts=True)
        return domain_N if groups.min(initial=2) >= 2 else np.zeros_like(domain_N)

    def samples(self) -> "Samples":
        as_they_are = np.ones((1, len(self.domain_id_N)), np.float32)
        if self.note():
            return Samples(as_they_are)
        drawn_RN = bootstrap_weights(self.strata())
        return Samples(np.concatenate([as_they_are, drawn_RN]), without_each=True)


@dataclass(frozen=True, slots=True)
class Samples:
    times_VN: np.ndarray  # how often a sample holds each group
    without_each: bool = False  # then those that leave one group out

    def sums(self, amount_NC: np.ndarray) -> Iterator[np.ndarray]:
        """Over the groups of each sample [V, C], AT_ONCE of them at a time."""
        for first in range(0, len(self.times_VN), AT_ONCE):
            yield self.times_VN[first : first + AT_ONCE] @ amount_NC
        if self.without_each:
            total_C = amount_NC.sum(0, dtype=np.float64)
            for first in range(0, len(amount_NC), AT_ONCE):
                yield (total_C - amount_NC[first : first + AT_ONCE]).astype(amount_NC.dtype)


Figures = dict[str, np.ndarray]  # of every measure that is known [V]
Measured = Callable[[Placement, Judges, Samples], tuple[Figures, np.ndarray]]


@dataclass(frozen=True, slots=True)
class Compared:
    table: pd.DataFrame  # a row a map and measure: COLUMNS
    busiest: dict[str, np.ndarray]  # max / mean of every layer and sample [L, V], by map
    strata_N: np.ndarray

    def has(self, measure: str) -> bool:
        return bool((self.table.measure == measure).any())

    def most_even(self) -> list[str]:
        """The map with the least busy busiest GPU, and those that are not surely less even."""
        value_V = {name: np.nanmean(of_LV, 0) for name, of_LV in self.busiest.items()}
        best = min(value_V, key=lambda name: float(value_V[name][0]))
        above = {
            name: interval(of_V - value_V[best], self.strata_N)[1] for name, of_V in value_V.items()
        }
        return [best, *(name for name, low in above.items() if name != best and not low > 0)]

    def row(self, plan: str, measure: str) -> pd.Series:
        """NaN where a number is unknown."""
        rows = self.table[(self.table.plan == plan) & (self.table.measure == measure)]
        return rows.astype(dict.fromkeys(NUMBERS, float)).iloc[0]


def compare(
    plans: Mapping[str, Placement], judges: Judges, *, before: str, only_balance: bool = False
) -> Compared:
    """estimate with low and high (95 %), change from the map `before` on the same samples with its
    own, random (mean of RANDOM_MAPS maps with as many places), balanced, n_groups, n_tokens
    (num_tokens), note (why there is no interval). What takes single choices
    is measured on the groups of which they are read."""
    table, busiest = _rows(plans, judges, partial(_of_loads, only_balance=only_balance), before)
    if not only_balance and (read := judges.of_choices()) is not None:
        table += _rows(plans, read, _reached, before)[0]
    frame = pd.DataFrame(table).reindex(columns=list(COLUMNS))
    return Compared(frame.astype(dict.fromkeys(NUMBERS, "Float64")), busiest, judges.strata())


def _rows(
    plans: Mapping[str, Placement], judges: Judges, measure: Measured, before: str
) -> tuple[list[dict[str, object]], dict[str, np.ndarray]]:
    """A row a map and figure, and max / mean of every layer."""
    strata_N, samples = judges.strata(), judges.samples()
    figures = {name: measure(plan, judges, samples) for name, plan in plans.items()}
    floor = _random_figures(list(plans.values())[-1], judges, measure)
    same = {
        "n_groups": len(strata_N),
        "n_tokens": judges.num_tokens(),
        "note": judges.note(),
    }
    rows = []
    for name, (of_plan, _) in figures.items():
        for figure, value_V in of_plan.items():
            row = {"plan": name, "measure": figure, "random": floor[figure]} | same
            ends = np.clip(interval(value_V, strata_N), *LIMITS.get(figure, (0.0, np.inf)))
            row |= zip(ENDS, ends.tolist(), strict=True)
            row["balanced"] = BALANCED.get(figure)
            if name != before:
                change_V = value_V - figures[before][0][figure]
                row |= zip(CHANGES, interval(change_V, strata_N), strict=True)
            rows.append(row)
    return rows, {name: busiest_LV for name, (_, busiest_LV) in figures.items()}


def interval(value_V: np.ndarray, strata_N: np.ndarray) -> tuple[float, float, float]:
    """estimate, low, high; the ends are NaN where nothing was drawn again, or all is alike. As wide
    as both the percentiles and their reflection: a maximum is biased under resampling."""
    estimate = value_V[:1].astype(np.float64)
    resampled_R = value_V[1 : 1 + RESAMPLES].astype(np.float64)
    error = float(resampled_R.std()) if len(resampled_R) else 0.0
    if not error > 1e-6 * abs(float(estimate[0])) + 1e-9:  # rounding of float32
        return float(estimate[0]), np.nan, np.nan
    quantile = jackknife_quantile(value_V[1 + RESAMPLES :], strata_N, error=error)
    low, high = basic_interval(resampled_R[None], estimate, quantile)
    ends = np.array([low, high, 2 * estimate - low, 2 * estimate - high])
    return float(estimate[0]), float(ends.min()), float(ends.max())


def _of_loads(
    plan: Placement, judges: Judges, samples: Samples, *, only_balance: bool
) -> tuple[Figures, np.ndarray]:
    """And max / mean of every layer [L, V]."""
    number, num_layers, _ = judges.loads.tokens_NLE.shape
    load_NLH = costs.gpu_loads(judges.loads.tokens_NLE.astype(np.float32), plan)
    load_NC = load_NLH.reshape(number, -1)
    parts: list[Figures] = []
    busiest = []
    for load_VC in samples.sums(load_NC):
        load_VLH = load_VC.reshape(len(load_VC), num_layers, -1)
        busiest.append(costs.busiest_of_layers(load_VLH).T)
        part = {
            BUSIEST: costs.busiest_gpu(load_VLH),
            SGLANG: costs.gpu_balancedness_sglang(load_VLH),
            VLLM: costs.gpu_balancedness_vllm(load_VLH),
            VLLM_BEFORE_FIX: costs.gpu_balancedness_vllm_before_fix(load_VLH),
        }
        parts.append(part)
    figures = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if not only_balance:
        figures |= _read(plan, judges, samples)
    return figures, np.concatenate(busiest, -1)


def _read(plan: Placement, judges: Judges, samples: Samples) -> Figures:
    """Experts that a GPU reads for a batch: mean over GPUs, and of the GPU that reads most; mean
    over layers."""
    if judges.loads.size_N is None:
        return {}
    number, num_layers, num_experts = judges.loads.tokens_NLE.shape
    tokens_NC = judges.loads.tokens_NLE.reshape(number, -1).astype(np.float32)
    read = []
    sizes = samples.sums(judges.loads.size_N[:, None])
    for tokens_VC, size_V1 in zip(samples.sums(tokens_NC), sizes, strict=True):
        tokens_VLE = tokens_VC.reshape(-1, num_layers, num_experts)
        size_V = size_V1[:, 0]
        read_VLH = costs.experts_read(tokens_VLE, size_V, plan, batch=judges.batch)
        read.append((read_VLH.mean((-1, -2)), read_VLH.max(-1).mean(-1)))
    mean_V, most_V = (np.concatenate(parts) for parts in zip(*read, strict=True))
    return {READ: mean_V, READ_MOST: most_V}


def _reached(plan: Placement, judges: Judges, samples: Samples) -> tuple[Figures, np.ndarray]:
    """GPUs, and nodes where there are several, that a token's choices in a layer reach."""
    assert judges.choices is not None
    number = len(judges.domain_id_N)
    of = costs.routes(judges.choices, plan)
    group_T = judges.choices.group_T
    known_T = group_T >= 0
    counts_N3 = np.column_stack(
        [
            np.bincount(group_T[known_T], amount_T[known_T], minlength=number)
            for amount_T in (of.decisions_T, of.gpus_T, of.nodes_T)
        ]
    )
    decisions_V, gpus_V, nodes_V = np.concatenate(list(samples.sums(counts_N3))).T
    decisions_V = np.maximum(decisions_V, 1e-9)
    reached = {GPUS: gpus_V / decisions_V}
    if plan.cluster.num_nodes > 1:
        reached[NODES] = nodes_V / decisions_V
    return reached, np.empty(0)


def _random_figures(like: Placement, judges: Judges, measure: Measured) -> dict[str, float]:
    """Means of RANDOM_MAPS maps, on the groups as they are."""
    rng = np.random.default_rng(0)
    as_they_are = Samples(np.ones((1, len(judges.domain_id_N)), np.float32))
    figures = []
    for _ in range(RANDOM_MAPS):
        plan = random_placement(like.cluster, len(like.experts_LP), rng)
        figures.append(measure(plan, judges, as_they_are)[0])
    return {name: float(np.mean([of[name] for of in figures])) for name in figures[0]}
