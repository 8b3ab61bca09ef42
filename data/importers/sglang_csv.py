"""Counts of SGLang's older recorder: a CSV a rank, with a line for each layer and expert.

A document is a file. L = layers, E = experts.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from data.batch_check import MOST_COUNTED
from data.counts import CountsBatch
from data.importers.checks.findings import finding
from data.importers.reading.numbered_layers import numbered, require_layers
from data.importers.reading.numbered_text import columns, line_blocks, require_lines
from data.importers.source import DumpFile, Meter, Options, Source
from data.routing import Document

NAME = "sglang-csv"
TITLE = "SGLang expert distribution of older versions (expert_distribution_rank*.csv)"

HEADER = b"layer_id,expert_id,count"
LINES = re.compile(rb"(?:\d{1,4},\d{1,5},\d{1,15}\n)*+")
EXPECTED = "a line of layer, expert and count"


def recognizes(file: DumpFile, head: bytes) -> bool:
    return head.split(b"\n")[0].strip() == HEADER


def source(files: Sequence[DumpFile], options: Options) -> Source:
    experts = options.require("num_experts", files[0], "does not say how many experts a layer has")
    seen: set[int] = set()
    for file in files:
        for layers, _, _ in _columns(file, Meter(), experts):
            seen.update(np.unique(layers).tolist())
    numbers = require_layers(files[0], seen)
    return Source(
        format=NAME,
        engine="sglang",
        layers=numbered(numbers, num_experts=experts, top_k=options.top_k),
        batches=lambda meter: _batches(files, numbers, experts, meter),
        counts_only=True,
        findings=(finding("counts-only", len(files), files[0].name),),
    )


def _batches(
    files: Sequence[DumpFile], numbers: Sequence[int], experts: int, meter: Meter
) -> Iterator[CountsBatch]:
    for doc_id, file in enumerate(files):
        counts_LE = np.full((len(numbers), experts), -1, np.int64)
        for layers, ids, counts in _columns(file, meter, experts):
            places = np.searchsorted(numbers, layers), ids
            known = counts_LE[places] >= 0
            counts_LE[places] = counts
            if known.any() or len(np.unique(layers * experts + ids)) < len(ids):
                raise ValueError(
                    f"{file.name} has two lines of one layer and expert; copy it again"
                )
        yield CountsBatch(
            tokens_NLE=np.maximum(counts_LE, 0)[None],
            documents=(Document(doc_id=doc_id, text="", origin=file.name),),
        )


def _columns(
    file: DumpFile, meter: Meter, experts: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(layers, experts, counts) of many lines"""
    for number, block in line_blocks(file, meter):
        if number == 1:
            header, _, block = block.partition(b"\n")
            if header.strip() != HEADER:
                raise ValueError(f"{file.name}:1: {HEADER.decode()} is expected as the first line")
            number = 2
        require_lines(file, number, block, LINES, EXPECTED)
        if not block:
            continue
        layers, ids, counts = columns(block, [pa.int64()] * 3, separator=",")
        if ids.max() >= experts or counts.max() >= MOST_COUNTED:
            at = int(np.argmax((ids >= experts) | (counts >= MOST_COUNTED)))
            raise ValueError(
                f"{file.name}:{number + at}: expert {ids[at]} with count {counts[at]}; experts are "
                f"0 to {experts - 1} by --num-experts, counts below {MOST_COUNTED:,}"
            )
        yield layers, ids, counts
