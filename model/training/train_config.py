"""The settings of a training and its learning rate."""

import math
from dataclasses import dataclass

from model.training.stages import Span, Stage, spans


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    steps: int  # the whole schedule, at full batches: stages of smaller ones take more
    batch_size: int  # sequences a step, over all processes
    learning_rate: float  # the peak
    warmup_steps: int
    final_learning_rate: float = 0.1  # of the peak, at the last step
    weight_decay: float = 0.1  # matrices only
    clip_norm: float = 1.0
    log_every: int = 20  # steps
    checkpoint_every: int = 2000  # steps
    snapshots: int = 12  # log-spaced steps at which routing is recorded, stage ends besides
    seed: int = 0
    stages: tuple[Stage, ...] = ()  # none: one learning rate schedule with warm-up and decay

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError(
                f"steps ({self.steps}) and batch_size ({self.batch_size}) must be positive"
            )
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) must be between 0 and steps ({self.steps})"
            )
        if self.snapshots < 1:
            raise ValueError(f"snapshots ({self.snapshots}) must be positive")

    def spans(self) -> list[Span]:
        return spans(self.stages, steps=self.steps, batch_size=self.batch_size)


def learning_rate(step: int, config: TrainConfig, span: Span | None = None) -> float:
    """Of step `step`, counted from 0: linear warm-up, then the stage's own rate, or without stages
    a cosine to `final_learning_rate`."""
    peak = config.learning_rate * (span.stage.learning_rate if span and config.stages else 1.0)
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    if config.stages:
        return peak
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    floor = config.final_learning_rate
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2)
