"""Less than all: captures that keep a sample of the texts, or some layers, and what their traces
say of it."""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from data.new_trace import TraceDescription
from data.routing import Document, RoutingBatch, TraceSink

KEPT = "kept"  # in config.capture of a trace
MOST_LAYERS = 4_096
LAYERS = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sample:
    """Whole documents: a share of those of every domain, or so many in all."""

    text: str  # as a user writes it: 0.1, or 500

    def __post_init__(self) -> None:
        is_count = re.fullmatch(r"[1-9]\d{0,6}", self.text, re.ASCII)
        is_share = re.fullmatch(r"0?\.\d{1,9}", self.text, re.ASCII) and float(self.text) > 0
        if not is_count and not is_share:
            raise ValueError(
                f"{self.text[:40]!r} is no sample; give a share between 0 and 1, such as 0.1, or "
                "a number of prompts, such as 500"
            )

    def doc_ids(self, documents: Iterable[Document], *, seed: int) -> frozenset[int]:
        """Drawn from each domain in proportion. ValueError: there are fewer documents."""
        strata: dict[str | None, list[int]] = {}
        for document in documents:
            strata.setdefault(document.domain, []).append(document.doc_id)
        sizes = [len(doc_ids) for doc_ids in strata.values()]
        draw = random.Random(seed)
        kept = zip(strata.values(), self._numbers(sizes), strict=True)
        return frozenset(one for doc_ids, number in kept for one in draw.sample(doc_ids, number))

    def _numbers(self, sizes: list[int]) -> list[int]:
        """How many of each stratum: by largest remainders, and of a share at least one."""
        total = sum(sizes)
        if "." in self.text:
            return [max(1, round(float(self.text) * size)) for size in sizes]
        if (wanted := int(self.text)) > total:
            raise ValueError(
                f"--sample is {wanted:,}, and there are {total:,} prompts; give fewer, or leave it "
                "out"
            )
        numbers = [wanted * size // total for size in sizes]
        remainders = [wanted * size % total for size in sizes]
        largest = sorted(range(len(sizes)), key=lambda place: -remainders[place])
        for place in largest[: wanted - sum(numbers)]:
            numbers[place] += 1
        return numbers


@dataclass(frozen=True, slots=True)
class Layers:
    """MoE layers by their numbers in the model, from 0."""

    text: str  # as a user writes them: 0,10,20-25

    def __post_init__(self) -> None:
        parts = [LAYERS.fullmatch(part.strip()) for part in self.text.split(",")]
        spans = [(int(part[1]), int(part[2] or part[1])) for part in parts if part]
        if len(spans) < len(parts) or any(first > last for first, last in spans):
            raise ValueError(
                f"{self.text[:40]!r} are no layers; give numbers from 0 and spans of them, such as "
                "0,10,20-25"
            )

    @property
    def numbers(self) -> list[int]:
        spans = [part.strip().partition("-") for part in self.text.split(",")]
        each = [range(int(first), int(last or first) + 1) for first, _, last in spans]
        return sorted({number for span in each for number in span})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a capture is asked to keep; None: all."""

    sample: Sample | None = None
    layers: Layers | None = None
    seed: int = 0  # of the sample

    def described(
        self, whole: TraceDescription, *, documents: int, of_documents: int
    ) -> TraceDescription:
        """Of the trace that is stored: `documents` of `of_documents`. ValueError: the model lacks
        a layer that is to be kept."""
        said: dict[str, object] = {}
        layers = whole.layers
        if self.sample and documents < of_documents:
            said["texts"] = {
                "sample": self.sample.text,
                "seed": self.seed,
                "kept": documents,
                "of": of_documents,
            }
        if self.layers:
            numbers = self.layers.numbers
            if numbers[-1] >= len(layers):
                raise ValueError(
                    f"--layers names layer {numbers[-1]}, and the model has {len(layers)} MoE "
                    f"layers: 0 to {len(layers) - 1}"
                )
            if len(numbers) < len(layers):
                said["layers"] = {"kept": numbers, "of": len(layers)}
                layers = tuple(layers[number] for number in numbers)
        if not said:
            return whole
        capture = whole.config["capture"]
        assert isinstance(capture, dict)
        config = whole.config | {"capture": capture | {KEPT: said}}
        return replace(whole, layers=layers, config=config)

    def sink(self, store: TraceSink, stored: TraceDescription) -> TraceSink:
        """Takes routing of all layers, and hands on what the described trace keeps."""
        return KeptLayers(store, self.layers.numbers, stored.top_k) if self.layers else store


class KeptLayers:
    """A sink that hands on some layers. A batch that is written again is the same one again."""

    def __init__(self, sink: TraceSink, layers: Sequence[int], top_k: int | None) -> None:
        self._sink, self._layers, self._top_k = sink, list(layers), top_k
        self._last: tuple[RoutingBatch | None, RoutingBatch | None] = (None, None)

    def write(self, batch: RoutingBatch) -> None:
        given, kept = self._last
        if kept is None or batch is not given:
            kept = self._of(batch)
            self._last = (batch, kept)
        self._sink.write(kept)

    def _of(self, batch: RoutingBatch) -> RoutingBatch:
        """With as many choices a token as its layers have, where all have the same."""
        names = ("entropy_TL", "margin_TL", "dropped_ids_TLK")
        gates: dict[str, Any] = {
            name: None if (values := getattr(batch, name)) is None else values[:, self._layers]
            for name in names
        }
        return replace(
            batch,
            expert_ids_TLK=batch.expert_ids_TLK[:, self._layers, : self._top_k],
            weights_TLK=batch.weights_TLK[:, self._layers, : self._top_k],
            **gates,
        )


def layer_numbers(config: Mapping[str, Any], num_layers: int) -> tuple[int, ...] | None:
    """In the model, of the layers of a trace with this config; None where it has all of them."""
    for said in _said(config):
        layers = said.get("layers")
        numbers = layers.get("kept") if isinstance(layers, dict) else None
        if isinstance(numbers, list) and len(numbers) == num_layers and _ascending(numbers):
            return tuple(numbers)
    return None


def require_whole_model(config: Mapping[str, Any], num_layers: int, *, what: str) -> None:
    """ValueError: the trace lacks layers of the model, of which `what` would have to tell."""
    if numbers := layer_numbers(config, num_layers):
        raise ValueError(
            f"the trace holds {spans(numbers)} alone, and {what} is of all layers; capture "
            "without --layers"
        )


def in_words(config: Mapping[str, Any], num_layers: int) -> list[str]:
    """What a trace with this config does not hold, a line each; whoever wrote it may be anybody."""
    lines = []
    for said in _said(config):
        texts, layers = said.get("texts"), said.get("layers")
        if isinstance(texts, dict) and _counts(texts, "kept", "of", "seed"):
            lines.append(
                f"This trace holds a sample: {texts['kept']:,} of {texts['of']:,} texts, drawn "
                f"from each domain in proportion (seed {texts['seed']}). The others were not "
                "captured."
            )
        numbers = layer_numbers({"capture": {KEPT: said}}, num_layers)
        if numbers and isinstance(layers, dict) and _counts(layers, "of"):
            lines.append(
                f"This trace holds {spans(numbers)} of the {layers['of']:,} MoE layers of the "
                "model. The others were not stored, and successive layers are those that are held."
            )
    return list(dict.fromkeys(lines))


def spans(numbers: Sequence[int]) -> str:
    """layers 0, 10 and 20 to 25"""
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), key=lambda placed: placed[1] - placed[0])
    ]
    words = [
        word
        for run in runs
        for word in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run))
    ]
    listed = f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
    return f"{'layer' if len(numbers) == 1 else 'layers'} {listed}"


def _said(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of every capture that the trace is made of."""
    merged = config.get("merged")
    captures = [config.get("capture"), *(merged if isinstance(merged, list) else [])]
    found = [capture.get(KEPT) for capture in captures if isinstance(capture, dict)]
    return [said for said in found if isinstance(said, dict)]


def _ascending(numbers: list[Any]) -> bool:
    return all(type(number) is int and 0 <= number < MOST_LAYERS for number in numbers) and (
        numbers == sorted(set(numbers))
    )


def _counts(said: Mapping[str, Any], *names: str) -> bool:
    return all(type(said.get(name)) is int and 0 <= said[name] < 2**53 for name in names)
