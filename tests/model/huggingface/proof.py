"""The proof of one family: recorded routing, replayed expert by expert, gives what the layer gave.

B = sequences, S = positions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.huggingface.layers import HuggingFaceLayer
from model.huggingface.trial import tried_layers
from model.recording import recorded_routing
from tests.families.found import Family
from tests.families.tiny import forward_inputs, tiny
from tests.model.huggingface.replay import Layers, passing, worst_error

B, S, NEW = 3, 9, 3
IMPLEMENTATIONS = ("eager", "grouped_mm", "batched_mm")


def prepared(family: Family) -> tuple[Any, list[HuggingFaceLayer]]:
    """(a model, its MoE layers)"""
    model = tiny(family)
    ids_BS = tokens(8, 64)
    inputs = forward_inputs(model, family, ids_BS, torch.ones_like(ids_BS))
    return model, tried_layers(model, lambda: model(**inputs))


def tokens(sequences: int, length: int) -> Tensor:
    order = torch.Generator().manual_seed(7)
    return torch.randint(5, 380, (sequences, length), generator=order)


def padded(side: str) -> Tensor:
    """A mask of B sequences of which all but the first are shorter."""
    mask_BS = torch.ones(B, S, dtype=torch.long)
    for row in range(1, B):
        mask_BS[row, slice(-2 * row, None) if side == "right" else slice(2 * row)] = 0
    return mask_BS


def implementations(model: Any) -> Iterator[str]:
    for name in IMPLEMENTATIONS:
        try:
            model.set_experts_implementation(name)
        except ValueError:  # it has one way alone
            continue
        yield name


def reading_error(model: Any, family: Family, layers: list[HuggingFaceLayer], side: str) -> float:
    """Of the rows that are no padding."""
    mask_BS = padded(side)
    inputs = forward_inputs(model, family, tokens(B, S), mask_BS)
    with torch.no_grad(), recorded_routing(Layers(layers)) as recording, passing(layers) as passed:
        model(**inputs)
        decisions = recording.transfer(torch.from_numpy(np.flatnonzero(mask_BS))).wait()
    return worst_error(layers, decisions, passed, np.flatnonzero(mask_BS))


def generates(model: Any) -> bool:
    """By itself, from text alone."""
    return model.can_generate() and not model.config.is_encoder_decoder


def generating_error(model: Any, layers: list[HuggingFaceLayer]) -> float | None:
    """Of every forward of a generation with a cache, of sequences padded on the left; None: the
    model generates by other forwards than its own."""
    worst, forwards = 0.0, 0
    with recorded_routing(Layers(layers)) as recording, passing(layers) as passed:

        def forward_ended(module: object, arguments: object, output: object) -> None:
            nonlocal worst, forwards
            forwards += 1
            decisions = recording.take()
            rows_T = np.arange(len(decisions.expert_ids_TLK))
            worst = max(worst, worst_error(layers, decisions, passed, rows_T))
            for layer in passed:
                layer.given.clear()
                layer.came.clear()

        handle = model.register_forward_hook(forward_ended)
        try:
            model.generate(
                input_ids=tokens(B, S),
                attention_mask=padded("left"),
                max_new_tokens=NEW,
                min_new_tokens=NEW,
                do_sample=False,
            )
        finally:
            handle.remove()
    return worst if forwards == NEW else None


@dataclass(frozen=True)
class Proven:
    """What was found of a family and how far replay was off, relative, in float32."""

    family: Family
    model: str
    layers: list[HuggingFaceLayer]
    implementations: list[str]
    reading: float
    generating: float | None


def prove(family: Family) -> Proven:
    model, layers = prepared(family)
    names = list(implementations(model))
    reading = 0.0
    for name in names:
        model.set_experts_implementation(name)
        for side in ("right", "left"):
            reading = max(reading, reading_error(model, family, layers, side))
    model.set_experts_implementation(names[0])
    return Proven(
        family=family,
        model=type(model).__name__,
        layers=layers,
        implementations=names,
        reading=reading,
        generating=generating_error(model, layers) if generates(model) else None,
    )
