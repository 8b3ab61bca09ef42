"""Counts that tools of llama.cpp write as CSV: a choice on each line, or an expert.

L = layers, E = routed experts.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from data.counts import CountsBatch
from data.importers.checks.findings import finding
from data.importers.reading.numbered_layers import numbered, require_alike, require_layers
from data.importers.reading.numbered_text import columns, line_blocks, require_lines
from data.importers.source import DumpFile, Meter, Options, Source
from data.new_trace import MOST_EXPERTS
from data.routing import Document

NAME = "llamacpp-csv"
TITLE = "llama.cpp moe-trace and profiler CSV"

CHOICES, PROFILE = b"layer,expert", b"layer,expert,count,frac_of_layer"
NUMBER = rb"\d{1,4}+,\d{1,4}+"
SHARE = rb"(?:\d{1,20}+(?:\.\d{1,20}+)?+(?:e[-+]\d{1,3}+)?+)"
LINES = {
    CHOICES: re.compile(rb"(?:%b\n)*+" % NUMBER),
    PROFILE: re.compile(rb"(?:%b,\d{1,15}+,%b\n)*+" % (NUMBER, SHARE)),
}
TYPES = {
    CHOICES: [pa.int64()] * 2,
    PROFILE: [pa.int64(), pa.int64(), pa.int64(), pa.float64()],
}
KEY = 10_000  # layer * KEY + expert: both have at most four digits


def recognizes(file: DumpFile, head: bytes) -> bool:
    first = head.split(b"\n", 1)[0].rstrip(b"\r")
    return first in (CHOICES, PROFILE) or re.fullmatch(NUMBER, first) is not None


def source(files: Sequence[DumpFile], options: Options) -> Source:
    kinds = [_kind(file) for file in files]
    require_alike(files, "the columns", [kind.decode() for kind in kinds])
    counts = [_counts(file, Meter(), kinds[0]) for file in files]
    layers = require_layers(files[0], (key // KEY for known in counts for key in known))
    experts = options.num_experts or _num_experts(files, counts, kinds[0], options)
    _check_experts(files, counts, experts)

    def batches(meter: Meter) -> Iterator[CountsBatch]:
        for doc_id, (file, known) in enumerate(zip(files, counts, strict=True)):
            meter.advance(file.size)
            tokens_LE = np.zeros((len(layers), experts), np.int64)
            for key, count in known.items():
                tokens_LE[layers.index(key // KEY), key % KEY] = count
            yield CountsBatch(
                tokens_NLE=tokens_LE[None],
                documents=(Document(doc_id=doc_id, text="", origin=file.name),),
            )

    return Source(
        format=NAME,
        engine="llama.cpp",
        layers=numbered(layers, num_experts=experts, top_k=None),
        batches=batches,
        counts_only=True,
        top_k_known=False,
        findings=(finding("counts-only", len(files), files[0].name),),
    )


def _kind(file: DumpFile) -> bytes:
    first = file.head().split(b"\n", 1)[0].rstrip(b"\r")
    return PROFILE if first == PROFILE else CHOICES


def _counts(file: DumpFile, meter: Meter, kind: bytes) -> dict[int, int]:
    """By layer * KEY + expert; experts that were listed with 0 too."""
    counts = Counter[int]()
    for number, block in line_blocks(file, meter):
        if number == 1 and block.startswith(kind + b"\n"):
            number, block = 2, block[len(kind) + 1 :]
        require_lines(file, number, block, LINES[kind], f"'{kind.decode()}' in numbers")
        if not block:
            continue
        values = columns(block, TYPES[kind], separator=",")
        key_R = values[0] * KEY + values[1]
        if kind == CHOICES:
            keys, times = np.unique(key_R, return_counts=True)
            counts.update(dict(zip(keys.tolist(), times.tolist(), strict=True)))
            continue
        for key, count in zip(key_R.tolist(), values[2].tolist(), strict=True):
            if key in counts:
                raise ValueError(
                    f"{file.name}: expert {key % KEY} of layer {key // KEY} stands there twice; "
                    "once is expected"
                )
            counts[key] = count
    if not counts:
        raise ValueError(f"{file.name} has no line of '{kind.decode()}'")
    return dict(counts)


def _num_experts(
    files: Sequence[DumpFile], counts: list[dict[int, int]], kind: bytes, options: Options
) -> int:
    """A profile lists all experts of all layers; a trace names those that were chosen."""
    experts: dict[int, set[int]] = {}
    for known in counts:
        for key in known:
            experts.setdefault(key // KEY, set()).add(key % KEY)
    listed = set(map(frozenset, experts.values()))
    if kind == PROFILE and listed == {frozenset(range(len(next(iter(listed)))))}:
        return len(next(iter(listed)))
    return options.require("num_experts", files[0], "does not say how many experts a layer has")


def _check_experts(files: Sequence[DumpFile], counts: list[dict[int, int]], experts: int) -> None:
    if experts > MOST_EXPERTS:
        raise ValueError(
            f"{files[0].name} has {experts:,} experts a layer; at most {MOST_EXPERTS:,} are "
            "expected"
        )
    for file, known in zip(files, counts, strict=True):
        largest = max(known, key=lambda key: key % KEY)
        if largest % KEY >= experts:
            raise ValueError(
                f"{file.name} names expert {largest % KEY} in layer {largest // KEY}, of "
                f"{experts}; see --num-experts"
            )
