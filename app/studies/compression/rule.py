"""Which experts go: those that another can stand for, or those that do the least.

L = MoE layers, E = routed experts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.redundancy import SIMILARITIES, leaders, without_least_salient
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
        """Whose weights each expert runs afterwards [L, E], CLOSED where nobody's."""
        if self.by == SALIENCY:
            rows = [without_least_salient(row, share=self.share) for row in known.saliency_LE]
            return np.array(rows)
        layers = zip(known.similarity(self.by), known.tokens_LE, strict=True)
        return np.array([leaders(*layer, threshold=self.threshold) for layer in layers])

    def require_change(self, known: Redundancy, leader_LE: np.ndarray) -> None:
        if (leader_LE != np.arange(leader_LE.shape[1])).any():
            return
        if self.by == SALIENCY:
            raise ValueError(
                "the share is less than one expert per layer, so nothing would be removed"
            )
        highest, layer_id = known.highest(self.by)
        raise ValueError(
            f"no two experts reach {self.threshold:g} by {self.by}: the most similar "
            f"pair has {highest:.3f}, in layer {layer_id}. Nothing was removed or written; lower "
            "--threshold"
        )
