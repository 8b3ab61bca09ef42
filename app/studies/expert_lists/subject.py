"""What a list of experts is asked of: a trace, its groups of texts, and what the list is to be.

N = groups, L = MoE layers, E = routed experts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import arrays, queries
from analysis.groups import too_few
from analysis.layers import experts
from analysis.lists.coverage import NEEDED
from analysis.lists.lists import HeldOut
from analysis.queries import TraceInfo
from app.studies import exports
from data.routing import LayerDescription

Kind = Literal["prune", "merge", "quantize", "tune", "watch"]
KINDS: tuple[Kind, ...] = ("prune", "merge", "quantize", "tune", "watch")
KEPT = 0.75  # of the experts of a layer, unless a number is given
WINDOW = 100_000  # tokens
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a list depends on, each as far as its kind asks."""

    kind: Kind
    keep: int | None = None  # prune, merge: experts of each layer
    by: str = "load"  # prune: "load" or "weight"
    domain: str | None = None  # tune: whose texts
    score: str = "token"  # tune: "token" or "gate"
    top_p: float = exports.TOP_P  # tune: share of a layer's score
    needed: int = NEEDED  # quantize: tokens of an expert
    window: int = WINDOW  # watch: tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertList:
    """A list, how sure it is, and what it costs or carries in texts that did not choose it."""

    settings: Settings
    answer: str
    experts: pd.DataFrame  # the rows of the list; or of all experts, of which some are `listed`
    value_LE: np.ndarray  # what the map of the experts shows
    listed_LE: np.ndarray
    measured: pd.DataFrame  # name, estimate, low, high, chance, bound, ...: by_others, if it is
    by_others: bool = True  # texts that did not choose the list measure it
    notes: tuple[str, ...] = ()
    more: dict[str, pd.DataFrame] = field(default_factory=dict)
    files: dict[str, object] = field(default_factory=dict)  # JSON, by the name of its form
    unwritten: str = ""  # why there is no file, or one fewer

    @property
    def listed(self) -> pd.DataFrame:
        rows = self.experts
        return rows[rows.listed].drop(columns="listed") if "listed" in rows else rows


class Subject:
    """A trace, and what its lists are made of, computed once."""

    def __init__(self, con: DuckDBPyConnection) -> None:
        self.con = con
        self.info: TraceInfo = queries.trace_info(con)
        self.experts_L = self.info.layer_sizes
        self.tokens_NLE, self.domain_id_N = arrays.group_array(con, self.info)
        if not len(self.domain_id_N):
            raise ValueError("the trace holds no choices; capture or import some")

    @cached_property
    def weights(self) -> np.ndarray:
        """Sums of the groups [N, L, E]. ValueError: the trace has none."""
        return arrays.group_weights(self.con, self.info)

    @cached_property
    def num_tokens(self) -> int:
        """Where choices are only counted: those of the layer that has most, over those that a token
        makes, if that is known."""
        of_layers = self.tokens_NLE.sum((0, 2), dtype=np.int64)
        busiest = int(of_layers.argmax())
        return self.info.num_tokens or int(of_layers[busiest]) // (
            self.info.layers[busiest].top_k or 1
        )

    def amounts(self, by: str) -> np.ndarray:
        return self.weights if by in ("weight", "gate") else self.tokens_NLE

    def present(self) -> list[str]:
        """Domains with a choice."""
        return [self.info.domains[place] for place in np.unique(self.domain_id_N).tolist()]

    def in_domain(self, domain: str) -> np.ndarray:
        """ValueError: no text of it has a choice."""
        if domain not in self.present():
            raise ValueError(
                f"no text of {domain!r:.80} in this trace; there are {', '.join(self.present())}"
            )
        return self.domain_id_N == self.info.domains.index(domain)

    def rows(self, held: HeldOut, *, most: bool | None) -> pd.DataFrame:
        """What the lists carry in all texts, where there are several domains, and in each."""
        everywhere = np.ones(len(self.domain_id_N), dtype=bool)
        of = {domain: self.in_domain(domain) for domain in self.present()}
        if len(of) > 1:
            of = {ALL: everywhere} | of
        return measured_table(
            {name: held.measured(of_N, most=most) for name, of_N in of.items()},
            {name: int(of_N.sum()) for name, of_N in of.items()},
        )

    def too_few(self) -> tuple[str, ...]:
        said = too_few(self.tokens_NLE.sum((1, 2)), self.domain_id_N)
        return (f"{said[0].upper()}{said[1:]}.",) if said else ()

    def layers(self) -> tuple[LayerDescription, ...]:
        """Of the model. ValueError: the trace lacks some, or a layer has no choices."""
        subject = exports.Subject(self.con, exports.Settings())
        subject.require_every_layer()
        return subject.layers

    def all_experts(self) -> pd.DataFrame:
        """layer_id, expert_id."""
        layer_id, expert_id = np.nonzero(np.arange(self.info.num_experts) < self.experts_L[:, None])
        return pd.DataFrame({"layer_id": layer_id, "expert_id": expert_id})

    def of_experts(self, values_LE: np.ndarray) -> np.ndarray:
        """Values in the order of all_experts()."""
        return values_LE[np.arange(self.info.num_experts) < self.experts_L[:, None]]


def measured_table(rows: dict[str, dict[str, float]], groups: dict[str, int]) -> pd.DataFrame:
    table = pd.DataFrame(
        [{"name": name, **row, "n_groups": groups[name]} for name, row in rows.items()]
    )
    numbers = ("estimate", "low", "high", "chance", "bound")
    return table.astype(dict.fromkeys(numbers, "Float64"))


Make = Callable[[tuple[LayerDescription, ...]], dict[str, object]]


def written(subject: Subject, make: Make) -> tuple[dict[str, object], str]:
    """The files of a list, or why there are none."""
    try:
        return make(subject.layers()), ""
    except ValueError as error:
        return {}, str(error)


def percent(row: pd.Series) -> str:
    """An estimate with its interval, if it has one."""
    span = "" if pd.isna(row.low) else f" ({100 * row.low:.1f} to {row.high:.1%})"
    return f"{row.estimate:.1%}{span}"


def surely(sure_LE: np.ndarray, listed_LE: np.ndarray, experts_L: np.ndarray) -> np.ndarray:
    """What the map of a list shows: where it is unknown how sure it is, the list alone."""
    if not np.isnan(sure_LE).all():
        return sure_LE
    return np.where(experts(listed_LE.shape, experts_L), listed_LE, np.nan)


def agreed(held: HeldOut) -> str:
    if not held.by_others:
        return (
            "No other group of texts is there to measure the list: it is measured in the texts "
            "that chose it, and does worse in others."
        )
    same, chance = held.agreement()
    if np.isnan(same):
        return "The lists of the two halves of the texts are empty."
    return (
        f"The lists of two halves of the texts have {same:.0%} in common, random ones {chance:.0%}."
    )
