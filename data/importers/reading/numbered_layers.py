"""Layers that a file names by their numbers in the model."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from data.importers.source import DumpFile, undescribed
from data.routing import UNKNOWN, LayerDescription

MOST_LAYERS = 4_096  # of a model: more are a damaged file


def numbered(
    numbers: Sequence[int],
    *,
    num_experts: int,
    top_k: int | None,
    scoring: str = UNKNOWN,
    weighting: str = UNKNOWN,
) -> tuple[LayerDescription, ...]:
    layers = undescribed(
        len(numbers),
        num_experts=num_experts,
        top_k=top_k,
        scoring=scoring,
        weighting=weighting,
    )
    return tuple(
        replace(layer, name=f"layers.{number}")
        for layer, number in zip(layers, numbers, strict=True)
    )


def require_layers(file: DumpFile, numbers: Iterable[int]) -> list[int]:
    """In order, each once. ValueError: there is none, or more than any model has."""
    known = sorted(set(numbers))
    if not 1 <= len(known) <= MOST_LAYERS:
        raise ValueError(
            f"{file.name} has {len(known):,} layers; 1 to {MOST_LAYERS:,} are expected"
        )
    return known


def require_alike(files: Sequence[DumpFile], what: str, values: Sequence[object]) -> None:
    """ValueError: a file's value is another than the first file's; names both."""
    for file, value in zip(files, values, strict=True):
        if value != values[0]:
            raise ValueError(
                f"{files[0].name} has {what} {values[0]}, and {file.name} {value}; import one "
                "model at a time"
            )
