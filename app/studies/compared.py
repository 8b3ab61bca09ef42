"""What differs between two traces, or two parts of one: sums over their groups of texts.

N = groups, L = MoE layers, E and F = routed experts of the first and the second.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.differences.differences import (
    Sample,
    lift_differences,
    load_differences,
    with_q,
)
from analysis.differences.figure_differences import figure_differences
from analysis.matching.experts import UNMATCHED
from analysis.queries import TraceInfo
from app.studies.sides import Side, Sides
from data.words import counted


@dataclass(frozen=True, slots=True)
class Renaming:
    """Layers and experts of the second that correspond to those of the first."""

    layer_L: np.ndarray
    expert_LE: np.ndarray  # UNMATCHED where none does

    def named(self, second: Sample, experts_L: np.ndarray) -> Sample:
        """Its choices under the first's names, 0 of experts without one; of all its choices."""
        of_NLF = second.tokens_NLE[:, self.layer_L]
        named_NLE = np.take_along_axis(of_NLF, np.maximum(self.expert_LE, 0)[None], -1)
        named_NLE = np.where(self.expert_LE == UNMATCHED, 0, named_NLE)
        return Sample(named_NLE, second.domain_id_N, experts_L, of_NLF.sum(-1, dtype=np.float64))

    def kept(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of experts that have a counterpart, which alone are tested."""
        kept = self.expert_LE[table.layer_id, table.expert_id] != UNMATCHED
        return with_q(table[kept].drop(columns="q").reset_index(drop=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Tables of the differences, second minus first; None: why is in `lacking`."""

    paired: bool
    num_groups: tuple[int, int]  # compared
    of_groups: tuple[int, int]  # that there are
    num_common: int  # groups of the same texts
    domains: list[str]
    loads: pd.DataFrame | None
    lifts: pd.DataFrame | None
    figures: pd.DataFrame | None
    per_token: pd.DataFrame
    lacking: list[str]

    def in_words(self) -> str:
        """What the sample is."""
        one, other = self.num_groups
        if self.paired:
            left = sum(self.of_groups) - 2 * self.num_common
            rest = f"; {left:,} that only one of the two has are left out" if left else ""
            read = (
                "" if one == self.num_common else f" ({one:,} of them, always the same, are read)"
            )
            groups = counted(self.num_common, "group", "groups")
            return f"Both have {groups} of the same texts{read}, compared pair by pair{rest}."
        part = "" if self.num_groups == self.of_groups else " (a sample, always the same)"
        common = ""
        if self.num_common:
            shared = "1 group is" if self.num_common == 1 else f"{self.num_common:,} groups are"
            common = f" {shared} in both, and taken for independent all the same."
        groups = counted(one, "group", "groups")
        texts = f"Texts differ: {groups} against {other:,}, two independent samples{part}."
        return texts + common


def compare(first: Side, second: Side, *, renaming: Renaming | None = None) -> Compared:
    """`renaming`: by which the second's experts go by the first's names."""
    sides = Sides.of(first, second)
    lacking = [] if renaming else _unlike(first.info, second.info)
    loads = lifts = figures = None
    samples = sides.sample(0), sides.sample(1)
    if first.info.num_layers == second.info.num_layers:
        figures = figure_differences(*samples, paired=sides.paired, num_domains=len(sides.domains))
    if not lacking:
        if renaming:
            samples = samples[0], renaming.named(samples[1], first.info.layer_sizes)
        loads = load_differences(*samples, paired=sides.paired)
        shared = sides.shared_domains()
        if len(shared) > 1:
            lifts = lift_differences(*samples, paired=sides.paired, domains=sides.domains)
            lifts = lifts[lifts.domain.isin(shared)].reset_index(drop=True)
        if renaming:
            loads, lifts = (None if of is None else renaming.kept(of) for of in (loads, lifts))
    if renaming and figures is None:
        layers = f"{first.info.num_layers} MoE layers against {second.info.num_layers}"
        lacking.append(f"{layers}: figures of layers are not compared")
    if not sides.like_tokens():
        lacking.append(
            "tokenizers differ, and so do lengths of tokens: loss a token is not compared"
        )
    return Compared(
        paired=sides.paired,
        num_groups=(len(sides.units[0]), len(sides.units[1])),
        of_groups=sides.of_groups,
        num_common=sides.num_common,
        domains=sides.domains,
        loads=loads,
        lifts=lifts,
        figures=figures,
        per_token=sides.per_token(),
        lacking=lacking,
    )


def _unlike(first: TraceInfo, second: TraceInfo) -> list[str]:
    """Why experts of one are not experts of the other; empty where they may be."""
    if first.num_layers != second.num_layers:
        return [
            f"{first.num_layers} MoE layers against {second.num_layers}: no layer of one is a "
            "layer of the other, so loads and lifts are not subtracted"
        ]
    apart = np.flatnonzero(first.layer_sizes != second.layer_sizes)
    if len(apart):
        layer = int(apart[0])
        return [
            f"{first.layer_sizes[layer]} experts in layer {layer} against "
            f"{second.layer_sizes[layer]}: no expert of one is an expert of the other, so loads "
            "and lifts are not subtracted"
        ]
    return []
