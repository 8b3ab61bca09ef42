"""A profile of llama.cpp's experts as JSON: counts and mean gate weights by layer.

L = layers, E = routed experts.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data.counts import CountsBatch
from data.importers.checks.findings import finding
from data.importers.reading.numbered_layers import numbered, require_layers
from data.importers.source import DumpFile, Meter, Options, Source
from data.lines import parsed_json
from data.new_trace import MOST_EXPERTS
from data.routing import Document, Finding
from data.words import counted

NAME = "llamacpp-profile"
TITLE = "llama.cpp expert profile (JSON)"

COUNTS, MEANS, TOKENS = "activation_counts", "avg_gate_weight", "total_tokens"
LONGEST = 1 << 26  # bytes of a file
LAYER = re.compile(r"\d{1,4}", re.ASCII)
MOST_COUNTED = 2**53


@dataclass(frozen=True, slots=True)
class Profile:
    layers: dict[int, dict[str, Any]]
    places: int  # of every array


def recognizes(file: DumpFile, head: bytes) -> bool:
    return re.match(rb'\s*\{\s*"\d{1,4}"\s*:\s*\{', head) is not None and (
        b'"%b"' % COUNTS.encode() in head or b'"%b"' % TOKENS.encode() in head
    )


def source(files: Sequence[DumpFile], options: Options) -> Source:
    profiles = [_profile(file) for file in files]
    layers = require_layers(files[0], (layer for one in profiles for layer in one.layers))
    for file, one in zip(files, profiles, strict=True):
        if list(one.layers) != layers:
            raise ValueError(
                f"{file.name} has {counted(len(one.layers), 'layer', 'layers')}, and all files "
                f"together {len(layers)}; "
                "import one model at a time"
            )
    counts_NLE = _array(files, profiles, COUNTS)
    experts = _num_experts(files, counts_NLE, options)
    weights_NLE = _weights(files, profiles, counts_NLE)
    documents = tuple(
        Document(doc_id=doc_id, text="", origin=file.name) for doc_id, file in enumerate(files)
    )

    def batches(meter: Meter) -> Iterator[CountsBatch]:
        meter.advance(sum(file.size for file in files))
        yield CountsBatch(
            tokens_NLE=counts_NLE[..., :experts],
            weight_sum_NLE=None if weights_NLE is None else weights_NLE[..., :experts],
            documents=documents,
        )

    top_k_L = _top_k(profiles, layers, counts_NLE)
    described = numbered(layers, num_experts=experts, top_k=None)
    return Source(
        format=NAME,
        engine="llama.cpp",
        layers=tuple(
            replace(layer, top_k=top_k) for layer, top_k in zip(described, top_k_L, strict=True)
        ),
        batches=batches,
        counts_only=True,
        top_k_known=None not in top_k_L,
        findings=tuple(_findings(files, counts_NLE.shape[2] - experts, len(layers))),
    )


def _profile(file: DumpFile) -> Profile:
    if file.size > LONGEST:
        raise ValueError(f"{file.name} has {file.size:,} bytes; at most {LONGEST:,} are expected")
    try:
        text = file.path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file.name} is not UTF-8 at byte {error.start}; copy it again"
        ) from error
    value = parsed_json(text, file.name, names_once=True)
    if not isinstance(value, dict) or not value:
        raise ValueError(f"{file.name} is no JSON object with layers")
    for name, layer in value.items():
        if not LAYER.fullmatch(name) or not isinstance(layer, dict):
            raise ValueError(
                f"{file.name} has {name!r:.40} with {type(layer).__name__}; a number of a layer "
                "with an object is expected"
            )
        if not isinstance(layer.get(COUNTS), list):
            raise ValueError(f"{file.name}: layer {name} has no list {COUNTS}")
    layers = {int(name): layer for name, layer in value.items()}
    if len(layers) < len(value):
        raise ValueError(f"{file.name} has a layer twice")
    places = {len(layer[COUNTS]) for layer in layers.values()}
    if len(places) > 1 or not 1 <= min(places) <= MOST_EXPERTS:
        raise ValueError(
            f"{file.name}: {COUNTS} has {min(places)} to {max(places)} places by layer; the same "
            f"number of all, 1 to {MOST_EXPERTS:,}, is expected"
        )
    return Profile(dict(sorted(layers.items())), places.pop())


def _array(files: Sequence[DumpFile], profiles: Sequence[Profile], name: str) -> np.ndarray:
    """[files, layers, places]. Where files differ in places, 0 follows."""
    places = max(one.places for one in profiles)
    dtype = np.int64 if name == COUNTS else np.float64
    array_NLE = np.zeros((len(files), len(profiles[0].layers), places), dtype)
    for file, one, array_LE in zip(files, profiles, array_NLE, strict=True):
        for place, (number, layer) in enumerate(one.layers.items()):
            array_LE[place, : one.places] = _numbers(
                layer.get(name),
                one.places,
                f"{file.name}: layer {number}, {name},",
                whole=name == COUNTS,
            )
    return array_NLE


def _numbers(values: object, places: int, where: str, *, whole: bool) -> np.ndarray:
    kinds = {int} if whole else {int, float}
    if not isinstance(values, list) or len(values) != places or not set(map(type, values)) <= kinds:
        raise ValueError(
            f"{where} is no list of {places} {'whole numbers' if whole else 'numbers'}"
        )
    if not all(0 <= value < MOST_COUNTED for value in values):
        raise ValueError(f"{where} holds a number below 0, one that is too large, or none")
    return np.array(values, np.int64 if whole else np.float64)


def _num_experts(files: Sequence[DumpFile], counts_NLE: np.ndarray, options: Options) -> int:
    """Places that no layer ever used may be experts, or lie beyond them: only a user knows."""
    places = counts_NLE.shape[2]
    used_E = counts_NLE.any((0, 1))
    last = int(np.flatnonzero(used_E)[-1]) if used_E.any() else -1
    experts = options.num_experts or places
    if last >= experts:
        raise ValueError(
            f"{files[0].name} counts expert {last}, and --num-experts is {experts}; give at least "
            f"{last + 1}"
        )
    if options.num_experts is None and last < places - 1:
        why = f"has arrays of {places} places, of which those from {last + 1} on count nothing"
        return options.require("num_experts", files[0], why)
    if experts > places:
        raise ValueError(
            f"{files[0].name} has arrays of {places} places, and --num-experts is {experts}: "
            f"experts are missing in it; give at most {places}"
        )
    return experts


def _weights(
    files: Sequence[DumpFile], profiles: Sequence[Profile], counts_NLE: np.ndarray
) -> np.ndarray | None:
    """Sums. None: no layer of a file has means, or not all do."""
    known = [MEANS in layer for one in profiles for layer in one.layers.values()]
    if not all(known):
        return None
    return _array(files, profiles, MEANS) * counts_NLE


def _top_k(
    profiles: Sequence[Profile], layers: list[int], counts_NLE: np.ndarray
) -> list[int | None]:
    """Choices per token, where they come out even in every file."""
    top_k_L: list[int | None] = []
    for place, number in enumerate(layers):
        tokens = [one.layers[number].get(TOKENS) for one in profiles]
        choices = counts_NLE[:, place].sum(-1).tolist()
        shares = {
            divmod(chosen, some) if isinstance(some, int) and some > 0 else (0, 1)
            for chosen, some in zip(choices, tokens, strict=True)
        }
        whole, rest = shares.pop()
        top_k_L.append(whole if not shares and not rest and whole else None)
    return top_k_L


def _findings(files: Sequence[DumpFile], idle: int, layers: int) -> Iterator[Finding]:
    yield finding("counts-only", len(files), files[0].name)
    if idle:
        yield finding("idle-experts", idle * layers, f"{files[0].name}, {idle} a layer")
