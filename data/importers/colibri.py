"""colibri's ROUTE_TRACE: a line for each token of each call of a layer. `.coli_usage` is read by
`colibri_usage.py`.

R = lines, K = experts per token.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from data.importers import colibri_usage
from data.importers.reading.numbered_layers import numbered, require_alike, require_layers
from data.importers.reading.numbered_text import (
    LONGEST,
    columns,
    line_blocks,
    numbered_lines,
    require_lines,
)
from data.importers.reading.passes import Rows, Texts
from data.importers.source import DumpFile, Meter, Options, Source
from data.routing import RoutingBatch

NAME = "colibri"
TITLE = "colibri ROUTE_TRACE and .coli_usage"

GATE = rb"-?(?:\d{1,20}+\.\d{1,20}+|nan|inf)"
LINE = rb"\d{1,10}+ \d{1,10}+ \d{1,10}+(?: -?\d{1,9}+:" + GATE + rb")++\n"
LINES = re.compile(rb"(?:" + LINE + rb")*+")
EXPECTED = "'call row layer expert:gate ...'"
LOOKED_AT = 200_000  # lines by which layers are known
PASSES = 3  # that are enough for it


def recognizes(file: DumpFile, head: bytes) -> bool:
    return re.match(LINE, head) is not None or colibri_usage.recognizes(head)


def source(files: Sequence[DumpFile], options: Options) -> Source:
    usage = [colibri_usage.recognizes(file.head()) for file in files]
    if all(usage):
        return colibri_usage.source(files, options, name=NAME)
    if any(usage):
        raise ValueError(
            f"{files[usage.index(True)].name} counts choices, and {files[usage.index(False)].name} "
            "names tokens; import one of them"
        )
    found = [_first_passes(file) for file in files]
    require_alike(files, "experts per token", [top_k for _, top_k in found])
    layers = require_layers(files[0], (layer for known, _ in found for layer in known))
    why = "does not say how many experts a layer has"
    experts = options.require("num_experts", files[0], why)

    def batches(meter: Meter) -> Iterator[RoutingBatch]:
        texts = Texts(layers, recorded="call")
        for file in files:
            yield from texts.batches(file, _rows(file, meter, top_k=found[0][1]))

    return Source(
        format=NAME,
        engine="colibri",
        layers=numbered(layers, num_experts=experts, top_k=found[0][1]),
        batches=batches,
    )


def _first_passes(file: DumpFile) -> tuple[set[int], int]:
    """(layers of the first passes, experts per token). What one pass lacks, another may have."""
    layers: set[int] = set()
    top_k, passes, before = 0, 0, (-1, -1)
    for number, line in numbered_lines(file, Meter(), longest=LONGEST):
        require_lines(file, number, line + b"\n", LINES, EXPECTED)
        call, _, layer, *_ = line.split(b" ", 3)
        top_k = top_k or line.count(b":")
        passes += int(call) != before[0] and int(layer) <= before[1]
        if passes == PASSES or number == LOOKED_AT:
            break
        before = int(call), int(layer)
        layers.add(before[1])
    if not layers:
        raise ValueError(f"{file.name} is empty; lines {EXPECTED} are expected")
    return layers, top_k


def _rows(file: DumpFile, meter: Meter, *, top_k: int) -> Iterator[Rows]:
    for number, block in line_blocks(file, meter):
        require_lines(file, number, block, LINES, EXPECTED)
        characters = np.frombuffer(block, np.uint8)
        colons, ends_R = (np.flatnonzero(characters == ord(mark)) for mark in ":\n")
        pairs_R = np.diff(np.searchsorted(colons, ends_R), prepend=0)
        if (pairs_R != top_k).any():
            line = int(np.argmax(pairs_R != top_k))
            raise ValueError(
                f"{file.name}:{number + line}: {pairs_R[line]} experts where {top_k} are expected, "
                "as in the first line"
            )
        types = [pa.int64()] * 3 + [pa.int64(), pa.float32()] * top_k
        values = columns(block.replace(b":", b" "), types, separator=" ")
        call_R, row_R, layer_R, *pairs = values
        yield Rows(call_R, row_R, layer_R, np.stack(pairs[::2], -1), np.stack(pairs[1::2], -1))
