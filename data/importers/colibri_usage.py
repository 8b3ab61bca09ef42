"""colibri's `.coli_usage`: how often each expert of each layer was chosen, since the file began.

L = layers, E = routed experts.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from data.counts import CountsBatch
from data.importers.checks.findings import finding
from data.importers.reading.numbered_layers import (
    MOST_LAYERS,
    numbered,
    require_alike,
    require_layers,
)
from data.importers.reading.numbered_text import numbered_lines
from data.importers.source import DumpFile, Meter, Options, Source
from data.new_trace import MOST_EXPERTS
from data.routing import Document

LINE = re.compile(rb"(-?\d{1,10}) (\d{1,10}) (\d{1,10})")
SIZES, VERSION = (
    -1,
    -2,
)  # lines that stand in the place of a layer: layers, experts; version, engine
LONGEST = 64  # bytes of a line
MOST_LINES = 4_000_000
ENGINES = ("glm_moe_dsa", "inkling", "olmoe", "kimi_k3")


def recognizes(head: bytes) -> bool:
    lines = head.split(b"\n")[:-1]
    return bool(lines) and all(LINE.fullmatch(line.rstrip(b"\r")) for line in lines)


def source(files: Sequence[DumpFile], options: Options, *, name: str) -> Source:
    experts = [_num_experts(file, options) for file in files]
    require_alike(files, "experts", experts)
    counts = [_counts(file, Meter(), num_experts=experts[0]) for file in files]
    layers = require_layers(files[0], (layer for known in counts for layer, _ in known))

    def batches(meter: Meter) -> Iterator[CountsBatch]:
        for doc_id, file in enumerate(files):
            tokens_LE = np.zeros((len(layers), experts[0]), np.int64)
            for (layer, expert), count in _counts(file, meter, num_experts=experts[0]).items():
                tokens_LE[layers.index(layer), expert] = count
            yield CountsBatch(
                tokens_NLE=tokens_LE[None],
                documents=(Document(doc_id=doc_id, text="", origin=file.name),),
            )

    return Source(
        format=name,
        engine="colibri",
        layers=numbered(layers, num_experts=experts[0], top_k=None),
        batches=batches,
        counts_only=True,
        top_k_known=False,
        config=_config(files[0]),
        findings=(finding("counts-only", len(files), files[0].name),),
    )


def _records(file: DumpFile, meter: Meter) -> Iterator[tuple[int, int, int, int]]:
    """(line, and its three numbers)"""
    for number, line in numbered_lines(file, meter, longest=LONGEST):
        match = LINE.fullmatch(line)
        if match is None:
            found = line.decode("utf-8", "backslashreplace")
            raise ValueError(
                f"{file.name}:{number}: {found!r} where 'layer expert count' is expected"
            )
        if number > MOST_LINES:
            raise ValueError(f"{file.name} has more than {MOST_LINES:,} lines; split it")
        first, second, third = map(int, match.groups())
        yield number, first, second, third


def _sizes(file: DumpFile) -> tuple[int, int] | None:
    """(layers, experts); None where the file does not say."""
    for _, layer, second, third in _records(file, Meter()):
        if layer == SIZES:
            return second, third
        if layer >= 0:
            break
    return None


def _num_experts(file: DumpFile, options: Options) -> int:
    said = _sizes(file)
    if said is None:
        return options.require("num_experts", file, "does not say how many experts a layer has")
    if not (said[0] <= MOST_LAYERS and 1 <= said[1] <= MOST_EXPERTS):
        raise ValueError(
            f"{file.name} says {said[0]:,} layers of {said[1]:,} experts; at most {MOST_LAYERS:,} "
            f"of 1 to {MOST_EXPERTS:,} are expected"
        )
    return said[1]


def _counts(file: DumpFile, meter: Meter, *, num_experts: int) -> dict[tuple[int, int], int]:
    """By layer and expert. Layers go to the stated number: the last may be a draft head."""
    said = _sizes(file)
    most = MOST_LAYERS if said is None else said[0]
    counts: dict[tuple[int, int], int] = {}
    for number, layer, expert, count in _records(file, meter):
        if layer < 0:
            if layer == VERSION and expert != 1:
                raise ValueError(f"{file.name}:{number}: version {expert}, and 1 is expected")
            continue
        if layer > most or expert >= num_experts:
            raise ValueError(
                f"{file.name}:{number}: expert {expert} of layer {layer}, of {num_experts} experts "
                f"and layers to {most}"
            )
        if (layer, expert) in counts:
            raise ValueError(
                f"{file.name}:{number}: expert {expert} of layer {layer} stands there before; once "
                "is expected"
            )
        counts[layer, expert] = count
    return counts


def _config(file: DumpFile) -> dict[str, object]:
    for _, layer, _, third in _records(file, Meter()):
        if layer == VERSION:
            names = {_fnv1a(name): name for name in ENGINES}
            return {"engine_id": third} | ({"engine": names[third]} if third in names else {})
        if layer >= 0:
            break
    return {}


def _fnv1a(name: str) -> int:
    """32 bits, by which colibri names its engines."""
    value = 2_166_136_261
    for byte in name.encode():
        value = (value ^ byte) * 16_777_619 % 2**32
    return value
