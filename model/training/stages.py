"""Training in stages: what changes from one to the next, and at which step.

A stage table is a list of stages, as JSON where a user gives one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from model.config import ModelConfig
from model.router import DynamicRouter
from model.transformer import Transformer

RAMP = (4, 2, 1)  # a curriculum cuts its sequences into so many, a third of the stage each


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a training. Batch and learning rate are relative to the largest of the training."""

    name: str
    percent: float  # of the tokens of the training
    batch: float = 1.0  # of the batch size
    learning_rate: float = 1.0  # of the peak, constant in the stage
    min_k: int | None = None  # fewest and most experts a token activates; None: as configured
    max_k: int | None = None
    top_p: float | None = None  # the weight that a token's experts reach between these limits
    curriculum: bool = False  # sample domains by learning progress, ramp the sequence length up
    adversarial: bool = False  # move embeddings against the loss, ask for the same result

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise ValueError(f"stage {self.name!r} takes {self.percent:g} %; give 0 to 100")
        for name in ("batch", "learning_rate"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} of stage {self.name!r} is {getattr(self, name):g}; give a share of "
                    "the largest, above 0 and at most 1"
                )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(
                f"top_p of stage {self.name!r} is {self.top_p:g}; give more than 0, at most 1"
            )
        if (self.min_k is None) != (self.max_k is None):
            raise ValueError(f"stage {self.name!r} needs both min_k and max_k, or neither")
        if self.min_k is not None and self.max_k is not None and not 1 <= self.min_k <= self.max_k:
            raise ValueError(
                f"stage {self.name!r} activates {self.min_k} to {self.max_k} experts; give "
                "1 <= min_k <= max_k"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stage in steps."""

    stage: Stage
    first: int  # step, counted from 0
    end: int  # first step after it
    batch_size: int  # sequences of the full length

    def cuts(self, step: int) -> int:
        """Into how many parts the sequences of this step are cut: 1 is the full length."""
        if not self.stage.curriculum:
            return 1
        return RAMP[len(RAMP) * (step - self.first) // (self.end - self.first)]


def article_stages() -> tuple[Stage, ...]:
    """Incubation, specialization and joint optimization as the article gives them, of 256 experts.

    Batches of 4, 2 and 1 M tokens and learning rates of 3e-4, 1e-4 and 5e-5 are taken as ratios.
    The article names no p: ours are chosen so that k varies between the limits.
    """
    return (
        Stage(name="incubation", percent=30, min_k=8, max_k=32, top_p=0.6, curriculum=True),
        Stage(
            name="specialization",
            percent=50,
            batch=1 / 2,
            learning_rate=1 / 3,
            min_k=32,
            max_k=128,
            top_p=0.9,
            adversarial=True,
        ),
        Stage(
            name="joint optimization",
            percent=20,
            batch=1 / 4,
            learning_rate=1 / 6,
            min_k=128,
            max_k=256,
            top_p=0.99,
        ),
    )


def without(
    stages: Sequence[Stage], *, curriculum: bool = False, adversarial: bool = False
) -> tuple[Stage, ...]:
    """The same stages with what is named switched off."""
    return tuple(
        replace(
            stage,
            curriculum=stage.curriculum and not curriculum,
            adversarial=stage.adversarial and not adversarial,
        )
        for stage in stages
    )


def spans(stages: Sequence[Stage], *, steps: int, batch_size: int) -> list[Span]:
    """Steps of every stage; a training without stages has one, unnamed.

    `steps` counts full batches: a stage of half the batch takes twice as many steps for its share.
    """
    if not stages:
        return [Span(stage=Stage(name="", percent=100), first=0, end=steps, batch_size=batch_size)]
    found: list[Span] = []
    for stage in stages:
        size = round(batch_size * stage.batch)
        took = round(steps * batch_size * stage.percent / 100 / max(1, size))
        if size < 1 or took < (len(RAMP) if stage.curriculum else 1):
            raise ValueError(
                f"stage {stage.name!r} would take {took} steps of {size} sequences: too short; "
                "raise steps or batch_size"
            )
        first = found[-1].end if found else 0
        found.append(Span(stage=stage, first=first, end=first + took, batch_size=size))
    return found


def activate(model: Transformer, stage: Stage) -> None:
    """As few and as many experts a token as the stage says."""
    if stage.min_k is None or stage.max_k is None:
        return
    for moe in model.moe_layers():
        assert isinstance(moe.gate, DynamicRouter)
        moe.gate.limit(min_k=stage.min_k, max_k=stage.max_k, top_p=stage.top_p)


def narrowed(model: Transformer, stage: Stage) -> ModelConfig:
    """The config of the model as the last stage leaves it."""
    if stage.min_k is None or stage.max_k is None:
        return model.config
    top_p = model.config.top_p if stage.top_p is None else stage.top_p
    return replace(model.config, min_k=stage.min_k, top_k=stage.max_k, top_p=top_p)


def check_stages(stages: Sequence[Stage], *, num_experts: int, router: str) -> None:
    """Whether a model can be trained so."""
    total = sum(stage.percent for stage in stages)
    if abs(total - 100) > 1e-6:
        shares = " + ".join(f"{stage.percent:g}" for stage in stages)
        raise ValueError(f"the stages take {shares} = {total:g} % of the tokens; make it 100 %")
    for stage in stages:
        if stage.max_k is None:
            continue
        if router != "dsr":
            raise ValueError(
                f"stage {stage.name!r} activates {stage.min_k} to {stage.max_k} experts, which "
                f"only the dsr router can; the model has the {router} router"
            )
        if stage.max_k > num_experts:
            raise ValueError(
                f"stage {stage.name!r} activates up to {stage.max_k} experts, the model has "
                f"{num_experts}; lower max_k"
            )


def read_stages(path: Path) -> tuple[Stage, ...]:
    """A stage table from JSON: a list of objects with the fields of Stage."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} is not a stage table; give a list of objects, one a stage")
    known = {field.name: field.type for field in fields(Stage)}
    for number, row in enumerate(rows, start=1):
        if unknown := sorted(set(row) - set(known)):
            raise ValueError(f"stage {number} of {path} has unknown fields {unknown}")
        for name, value in row.items():
            if not fits(value, known[name]):
                raise ValueError(f"{name} of stage {number} of {path} is {value!r}")
        if missing := sorted({"name", "percent"} - set(row)):
            raise ValueError(f"stage {number} of {path} lacks {missing}")
    return tuple(Stage(**row) for row in rows)


def fits(value: object, wanted: Any) -> bool:
    """Whether a JSON value is of the type that a field of Stage has."""
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, wanted) or (wanted is float and isinstance(value, int))
