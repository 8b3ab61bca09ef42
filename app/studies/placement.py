"""Experts on GPUs: a map made of one half of the texts and measured on the other half, or, of a
single group of texts, on the same.

N = groups, L = MoE layers, H = GPUs, P = places.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import pandas as pd

from analysis.expert_bytes import expert_groups
from analysis.halves import judging_half
from analysis.placement import costs
from analysis.placement.maps import Cluster, Placement, in_order, nearest_to
from analysis.placement.policies import EPLB, IN_ORDER, Traffic, known_policies, place
from analysis.placement.sample import Choices, PlacedTexts
from analysis.placement.table import Compared, Judges, compare, interval
from analysis.queries import TraceInfo
from app.studies.later import require_other_texts
from data.words import counted

BEFORE = "current"
ALL_TEXTS = "all texts"
YESTERDAY, TODAY = "yesterday's plan", "today's plan"
USUAL_GPUS = 8
ADVICE = "choose another domain or phase, or capture more texts"
MOST_CELLS = 1 << 26  # of layers, places and GPUs; and of pairs of places


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a user decides."""

    gpus: int
    nodes: int = 1
    redundant: int = 0
    groups: int | None = None  # of experts; None: as the model has them
    policy: str = EPLB
    phase: str | None = None  # that the map is made for; None: both
    domain: str | None = None
    batch: int = 64  # tokens

    def cluster(self, info: TraceInfo) -> Cluster:
        """ValueError: that many do not go together, or into memory."""
        cluster = Cluster(
            num_experts=info.num_experts,
            num_gpus=self.gpus,
            num_nodes=self.nodes,
            num_redundant=self.redundant,
            num_groups=self.groups or expert_groups(info),
        )
        places = cluster.num_places
        if places * max(info.num_layers * self.gpus, 4 * places) > MOST_CELLS:
            raise ValueError(
                f"{counted(info.num_layers, 'layer', 'layers')} of {places:,} places on "
                f"{self.gpus:,} GPUs are more "
                "than fits into memory; give fewer GPUs or redundant experts"
            )
        return cluster


def usual_gpus(num_experts: int) -> int:
    """As many as a machine has, if the experts spread evenly over them."""
    return next(
        gpus for gpus in range(min(USUAL_GPUS, num_experts), 0, -1) if num_experts % gpus == 0
    )


@dataclass(frozen=True)
class Planned:
    """Maps by policies, made of the same texts and measured on the same others."""

    settings: Settings
    plans: dict[str, Placement]  # by policy, that of the settings among them; BEFORE: in use
    judges: Judges
    compared: Compared
    in_use: bool  # somebody gave the map BEFORE; else experts are in order

    @property
    def before(self) -> Placement:
        return self.plans[BEFORE]

    @property
    def plan(self) -> Placement:
        return self.plans[self.settings.policy]

    def by_layer(self, *, expert_bytes: int | None = None) -> pd.DataFrame:
        """layer_id, before and after (max / mean of GPUs) with intervals, moved_experts, of places,
        and bytes if those of an expert are known."""
        rows = []
        moved_L = costs.moved_places(self.plan, self.before)
        for layer_id, moved in enumerate(moved_L.tolist()):
            row: dict[str, object] = {"layer_id": layer_id}
            for name, plan in (("before", BEFORE), ("after", self.settings.policy)):
                value_V = self.compared.busiest[plan][layer_id]
                ends = np.maximum(interval(value_V, self.compared.strata_N), 1.0)
                row |= zip((name, f"{name}_low", f"{name}_high"), ends, strict=True)
            rows.append(row | {"moved_experts": moved, "places": self.plan.cluster.num_places})
        table = pd.DataFrame(rows)
        return table if expert_bytes is None else table.assign(bytes=moved_L * expert_bytes)

    @cached_property
    def traffic(self) -> dict[str, dict[str, np.ndarray]]:
        """Share of tokens that two GPUs serve [H, H], and where there are several that two nodes
        do [M, M], before and after; empty where no single choice of those who judge is read."""
        choices, plans = self.judges.choices, {"before": self.before, "after": self.plan}
        if choices is None:
            return {}
        kinds = {"GPU": plans}
        if self.settings.nodes > 1:
            kinds["node"] = {when: plan.by_node() for when, plan in plans.items()}
        return {
            kind: {
                when: costs.gpu_pair_traffic(costs.routes(choices, plan))
                for when, plan in of.items()
            }
            for kind, of in kinds.items()
        }

    def relative_loads(self, plan: Placement) -> np.ndarray:
        """load_LH over the mean of its layer; NaN of one without tokens."""
        tokens_LE = self.judges.loads.tokens_NLE.sum(0, dtype=np.float64)
        load_LH = costs.gpu_loads(tokens_LE, plan)
        mean_L1 = load_LH.mean(-1, keepdims=True)
        return np.divide(load_LH, mean_L1, out=np.full(load_LH.shape, np.nan), where=mean_L1 > 0)


def planned(
    texts: PlacedTexts,
    settings: Settings,
    *,
    current: Placement | None = None,
    every_policy: bool = True,
) -> Planned:
    """By the policy of the settings, and by all others beside it.

    ValueError: numbers that do not go together, or no text of the phase and domain."""
    cluster = settings.cluster(texts.info)
    split = texts.split(phase=settings.phase, domain=settings.domain)
    traffic = _traffic(texts, settings, split.makes_N)
    judges = _judges(texts, settings, split.measures_N, made_none=split.by_others)
    before = current or in_order(cluster, texts.info.num_layers)
    policies = [settings.policy]
    if every_policy:
        known = known_policies(cluster, pairs_known=traffic.pairs is not None)
        left_out = (IN_ORDER,) if current is None else ()  # that is the map in use
        policies = list(dict.fromkeys([*(one for one in known if one not in left_out), *policies]))
    plans = {BEFORE: before}
    for policy in policies:
        plans[policy] = nearest_to(place(policy, traffic, cluster), before)
    compared = compare(plans, judges, before=BEFORE)
    return Planned(settings, plans, judges, compared, in_use=current is not None)


def holds(texts: PlacedTexts, of: Planned) -> pd.DataFrame:
    """The map in use and the plan on each phase and domain of the texts that measure them:
    compare() of balance, with the column texts."""
    by_others = of.judges.made_none
    plans = {BEFORE: of.before, of.settings.policy: of.plan}
    parts = [(ALL_TEXTS, replace(of.settings, phase=None, domain=None))]
    parts += [(phase, replace(of.settings, phase=phase, domain=None)) for phase in texts.phases]
    if len(texts.info.domains) > 1:
        domains = texts.info.domains
        parts += [(name, replace(of.settings, phase=None, domain=name)) for name in domains]
    tables = []
    for name, settings in parts:
        try:
            of_part_N = texts.judges_N if by_others else np.ones_like(texts.judges_N)
            judges = _judges(texts, settings, of_part_N, loads_only=True, made_none=by_others)
        except ValueError:  # it has no such texts
            continue
        table = compare(plans, judges, before=BEFORE, only_balance=True).table
        table.insert(0, "texts", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def drift(
    texts: PlacedTexts,
    of: Planned,
    *,
    today: PlacedTexts | None = None,
) -> Compared:
    """What a map of earlier texts is worth on later ones: the map in use, the plan of yesterday's
    texts and that of today's, on those of today's that made none of them. Yesterday is the first
    half of the groups in the order of their capture; with `today` it is all of `texts`.

    ValueError: today is of another model or lacks the domain, or has too few groups for two halves.
    """
    settings = of.settings
    if today is None:
        earlier_N = np.arange(len(texts.domain_id_N)) < len(texts.domain_id_N) // 2
        today, judges_N = texts, _halved(texts, ~earlier_N)
        made_N = ~earlier_N & ~judges_N
        if not (earlier_N.any() and made_N.any() and judges_N.any()):
            number = counted(len(earlier_N), "group", "groups")
            raise ValueError(
                f"{number} of texts cannot be split into earlier texts, later ones and those that "
                "judge; a later trace can be given"
            )
    else:
        require_like(texts.info, today.info, settings)
        earlier_N = np.ones(len(texts.domain_id_N), dtype=bool)
        judges_N = today.judges_N
        made_N = ~judges_N
    cluster, before = settings.cluster(texts.info), of.before
    yesterday = place(settings.policy, _traffic(texts, settings, earlier_N), cluster)
    plan = place(settings.policy, _traffic(today, settings, made_N), cluster)
    plans = {BEFORE: before, YESTERDAY: yesterday, TODAY: plan}
    judges = _judges(today, settings, judges_N, loads_only=True)
    return compare(plans, judges, before=YESTERDAY, only_balance=True)


def _halved(texts: PlacedTexts, kept_N: np.ndarray) -> np.ndarray:
    """Those of the groups kept that judge."""
    size_N = texts.loads[None].tokens_NLE[kept_N].sum((1, 2), dtype=np.float64)
    judges_N = np.zeros(len(kept_N), dtype=bool)
    judges_N[kept_N] = judging_half(size_N, texts.domain_id_N[kept_N])
    return judges_N


def require_like(one: TraceInfo, other: TraceInfo, settings: Settings) -> None:
    """ValueError: a map of one trace cannot be measured on the other."""
    require_other_texts(one, other)
    if (one.num_layers, one.num_experts) != (other.num_layers, other.num_experts):
        raise ValueError(
            f"{one.name} is of {counted(one.num_layers, 'layer', 'layers')} of {one.num_experts} "
            f"experts, {other.name} "
            f"of {other.num_layers} of {other.num_experts}: a map fits one model"
        )
    require_domain(other, settings.domain)


def _traffic(texts: PlacedTexts, settings: Settings, kept_N: np.ndarray) -> Traffic:
    kept_N = kept_N & texts.of_domain(settings.domain)
    tokens_LE = texts.loads_of(settings.phase).tokens_NLE[kept_N].sum(0)
    if not tokens_LE.any():
        raise ValueError(f"{_none_of(settings)} that would make a map; {ADVICE}")
    choices = _choices(texts, settings, kept_N)
    if choices is None:
        return Traffic(tokens_LE, None)
    return Traffic(tokens_LE, partial(choices.pairs, num_experts=texts.info.num_experts))


def _judges(
    texts: PlacedTexts,
    settings: Settings,
    kept_N: np.ndarray,
    *,
    loads_only: bool = False,
    made_none: bool = True,
) -> Judges:
    loads = texts.loads_of(settings.phase)
    kept_N = kept_N & texts.of_domain(settings.domain) & loads.tokens_NLE.any((1, 2))
    if not kept_N.any():
        raise ValueError(f"{_none_of(settings)} that would judge a map; {ADVICE}")
    choices = None if loads_only else _choices(texts, settings, kept_N)
    return Judges(loads.of(kept_N), texts.domain_id_N[kept_N], choices, settings.batch, made_none)


def _choices(texts: PlacedTexts, settings: Settings, kept_N: np.ndarray) -> Choices | None:
    """None: of these groups and the phase none was read."""
    choices = texts.choices and texts.choices.of(kept_N, settings.phase)
    return choices if choices and len(choices.token_C) else None


def _none_of(settings: Settings) -> str:
    of = [f"of {name}" for name in (settings.domain, settings.phase) if name is not None]
    return " ".join(["no choice", *of, "is in the texts"])


def require_domain(info: TraceInfo, domain: str | None) -> None:
    if domain is not None and domain not in info.domains:
        raise ValueError(
            f"{info.name} has no domain {domain!r:.80}; it has {', '.join(info.domains)}"
        )
