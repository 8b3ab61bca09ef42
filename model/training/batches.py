"""What a training reads: the sequences of every step, and what is told of them.

B = sequences, S = positions, G = domains.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from model.training.stages import Span


class Batches(Protocol):
    """A function of the step and of the reports so far: a resumed training sees the same."""

    domains: tuple[str, ...]  # of the sequences; none where they are not known

    def draw(self, step: int, span: Span) -> tuple[np.ndarray, np.ndarray | None]:
        """(token ids [B, S + 1], -1 is padding, domain_B where they are known) of a step."""
        ...

    def report(self, step: int, span: Span, domains_3G: np.ndarray) -> dict[str, object]:
        """What the log says of the steps since the last report.

        `domains_3G`: nats, predicted tokens and sequences of each domain.
        """
        ...

    def state(self) -> str | None:
        """What a checkpoint keeps for `restore`; None: nothing."""
        ...

    def restore(self, state: str) -> None: ...


class PlainBatches:
    """The sequences are a function of the step alone, their domains unknown."""

    domains: tuple[str, ...] = ()

    def __init__(self, batch_of: Callable[[int], np.ndarray]) -> None:
        """`batch_of`: token ids [B, S + 1] of a step."""
        self.batch_of = batch_of

    def draw(self, step: int, span: Span) -> tuple[np.ndarray, None]:
        return self.batch_of(step), None

    def report(self, step: int, span: Span, domains_3G: np.ndarray) -> dict[str, object]:
        return {}

    def state(self) -> None:
        return None

    def restore(self, state: str) -> None:
        raise AssertionError("plain batches have no state")
