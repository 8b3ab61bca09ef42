"""Which experts go: those that another can stand for, or those that do the least.

L = MoE layers, E = routed experts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.redundancy import CLOSED, SIMILARITIES, leaders, without_least_salient
from app.studies.redundancy import Redundancy

SALIENCY = "saliency"
THRESHOLD = 0.85
SHARE = 0.25
How = Literal["drop", "merge"]
Settings = Mapping[str, str | float]  # by name, as a result is labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    by: str  # one of SIMILARITIES, or SALIENCY
    how: How = "drop"  # "merge": a group keeps its mean instead of its most used expert
    threshold: float = THRESHOLD  # similarity from which one goes
    share: float = SHARE  # by saliency: of the experts of each layer that go

    def __post_init__(self) -> None:
        if self.by not in (*SIMILARITIES, SALIENCY):
            names = ", ".join((*SIMILARITIES, SALIENCY))
            raise ValueError(f"--by {self.by!r} is not one of {names}")
        if self.by == SALIENCY and self.how == "merge":
            raise ValueError("saliency makes no groups that could be merged; use --how drop")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"the threshold ({self.threshold}) must be between 0 and 1")
        if not 0 < self.share < 1:
            raise ValueError(f"the share ({self.share}) must be above 0 and below 1")

    def settings(self) -> Settings:
        """What the rule depends on."""
        if self.by == SALIENCY:
            return {"by": self.by, "how": self.how, "share": self.share}
        return {"by": self.by, "how": self.how, "threshold": self.threshold}

    def leaders(self, known: Redundancy) -> np.ndarray:
        """Whose weights each expert runs afterwards [L, E], CLOSED where nobody's or where a layer
        has no such expert."""
        leader_LE = np.full(known.tokens_LE.shape, CLOSED)
        for layer_id, experts in enumerate(known.experts_by_layer.tolist()):
            leader_LE[layer_id, :experts] = self._of_layer(known, layer_id, experts)
        return leader_LE

    def _of_layer(self, known: Redundancy, layer_id: int, experts: int) -> np.ndarray:
        if self.by == SALIENCY:
            return without_least_salient(known.saliency_LE[layer_id, :experts], share=self.share)
        similarity_EE = known.similarity(self.by)[layer_id, :experts, :experts]
        tokens_E = known.tokens_LE[layer_id, :experts]
        return leaders(similarity_EE, tokens_E, threshold=self.threshold)

    def require_without_leaders(self) -> None:
        if self.by != SALIENCY:
            raise ValueError(
                "in a model of transformers an expert has weights of its own or is gone, and none "
                "can run another's; use --by saliency"
            )

    def kept(self, known: Redundancy, *, groups: int) -> list[list[int]]:
        """Ids that stay in each layer of a model that renumbers its experts, equally many in all
        layers and in all groups of one, which are ranges of ids."""
        self.require_without_leaders()
        sizes = set(known.experts_by_layer.tolist())
        if len(sizes) > 1:
            raise ValueError("the layers have different numbers of experts; all must be alike")
        [experts] = sizes
        of_groups = [part for row in known.saliency_LE for part in np.split(row[:experts], groups)]
        closed = [without_least_salient(part, share=self.share) == CLOSED for part in of_groups]
        closed_LE = np.reshape(closed, (-1, experts))
        if not closed_LE.any():
            where = "group" if groups > 1 else "layer"
            raise ValueError(
                f"the share is less than one expert per {where}, so nothing would be removed; with "
                f"{experts // groups} experts in each, give at least {groups / experts:.4g}"
            )
        if (left := int((~closed_LE[0]).sum())) < known.top_k:
            raise ValueError(
                f"{left} experts of a layer would be left, and a token chooses {known.top_k}; "
                "lower --share"
            )
        return [np.flatnonzero(~closed_E).tolist() for closed_E in closed_LE]

    def require_change(self, known: Redundancy, leader_LE: np.ndarray) -> None:
        standing_LE = leader_LE == np.arange(leader_LE.shape[1])
        if standing_LE.sum() < known.experts_by_layer.sum():
            return
        if self.by == SALIENCY:
            raise ValueError(
                "the share is less than one expert per layer, so nothing would be removed; give at "
                f"least {1 / leader_LE.shape[1]:.4g}"
            )
        highest, layer_id = known.highest(self.by)
        raise ValueError(
            f"no two experts reach {self.threshold:g} by {self.by}: the most similar "
            f"pair has {highest:.3f}, in layer {layer_id}. Nothing was removed or written; lower "
            "--threshold"
        )
