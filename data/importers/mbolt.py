"""mbolt's MBLT: int32 of choices as llama.cpp computes them, a record for each layer of a pass.

R = rows (what one token chose in one layer), C = records, K = experts per token, 3 = layer, experts
per token and tokens of a record, F = int32 of a record.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from data.importers.reading.numbered_layers import numbered, require_alike, require_layers
from data.importers.reading.passes import MOST_CHOICES, Rows, Texts
from data.importers.source import DumpFile, Meter, Options, Source
from data.routing import RoutingBatch

NAME = "mbolt"
TITLE = "mbolt MBLT trace of llama.cpp"

MAGIC = b"MBLT"  # 0x544C424D, little-endian
HEADER = struct.Struct("<4sii")  # magic, version, experts
RECORD = struct.Struct("<iii")  # layer, experts per token, tokens; then the ids, token by token
BLOCK = 1 << 22  # bytes that are read at once
LOOKED_AT = 10_000  # records by which layers are known
PASSES = 3  # that are enough for it


def recognizes(file: DumpFile, head: bytes) -> bool:
    return head.startswith(MAGIC)


def source(files: Sequence[DumpFile], options: Options) -> Source:
    shapes = [_shape(file) for file in files]
    require_alike(files, "(experts, experts per token)", shapes)
    experts, top_k = shapes[0]
    layers = require_layers(files[0], (layer for file in files for layer in _layers(file)))

    def batches(meter: Meter) -> Iterator[RoutingBatch]:
        texts = Texts(layers, recorded="record")
        for file in files:
            yield from texts.batches(file, _rows(file, meter, top_k=top_k))

    return Source(
        format=NAME,
        engine="llama.cpp",
        layers=numbered(layers, num_experts=experts, top_k=top_k),
        batches=batches,
    )


def _shape(file: DumpFile) -> tuple[int, int]:
    """(experts, experts per token)"""
    with file.path.open("rb") as stream:
        head = stream.read(HEADER.size + RECORD.size)
    if len(head) < HEADER.size + RECORD.size:
        raise ValueError(f"{file.name} has {len(head)} bytes; a header and a record are expected")
    magic, version, experts = HEADER.unpack_from(head)
    if magic != MAGIC or version != 1 or experts < 1:
        raise ValueError(
            f"{file.name} begins with {magic!r}, version {version}, {experts} experts; "
            f"{MAGIC!r}, version 1 and a number of experts are expected"
        )
    top_k = RECORD.unpack_from(head, HEADER.size)[1]
    if not 1 <= top_k <= experts:
        raise ValueError(
            f"{file.name}: record 0 has {top_k} experts a token of {experts}; 1 to {experts} are "
            "expected"
        )
    return experts, top_k


def _layers(file: DumpFile) -> set[int]:
    """Of the first passes. What one lacks, another may have."""
    layers: set[int] = set()
    place, size, passes, before = HEADER.size, file.size, 0, -1
    with file.path.open("rb") as stream:
        for number in range(LOOKED_AT):
            stream.seek(place)
            head = stream.read(RECORD.size)
            if not head:
                break
            record = _record(file, head, place=place, number=number, size=size)
            passes += record.layer <= before
            if passes == PASSES:
                break
            before = record.layer
            layers.add(before)
            place += record.size
    return layers


class Record(NamedTuple):
    layer: int
    top_k: int
    tokens: int

    @property
    def size(self) -> int:
        return RECORD.size + 4 * self.top_k * self.tokens


def _record(file: DumpFile, head: bytes, *, place: int, number: int, size: int) -> Record:
    """ValueError: `head` is of no record that a file of `size` bytes can hold."""
    if len(head) < RECORD.size:
        raise _cut_off(file, number, place)
    record = Record(*RECORD.unpack(head))
    if record.layer < 0 or record.top_k < 1 or record.tokens < 0:
        raise ValueError(
            f"{file.name}: record {number}, at byte {place}, has layer {record.layer}, "
            f"{record.top_k} experts a token and {record.tokens} tokens; layers from 0, experts "
            "from 1 are expected"
        )
    if place + record.size > size:
        raise _cut_off(file, number, place)
    if record.top_k * record.tokens > MOST_CHOICES:
        raise ValueError(
            f"{file.name}: record {number}, at byte {place}, has "
            f"{record.top_k * record.tokens:,} choices; at most {MOST_CHOICES:,} are expected"
        )
    return record


def _cut_off(file: DumpFile, number: int, place: int) -> ValueError:
    return ValueError(
        f"{file.name} ends within record {number}, which begins at byte {place}; copy it again, or "
        f"cut it there (truncate --size {place}) if its writer was stopped"
    )


def _rows(file: DumpFile, meter: Meter, *, top_k: int) -> Iterator[Rows]:
    place, number, rest, size = HEADER.size, 0, b"", file.size
    with file.path.open("rb") as stream:
        stream.seek(place)
        meter.advance(place)
        while chunk := stream.read(BLOCK):
            meter.advance(len(chunk))
            block = rest + chunk
            heads_C3, used = _heads(file, block, place=place, number=number, size=size)
            _check_heads(file, heads_C3, number=number, top_k=top_k)
            if heads_C3[:, 2].any():
                yield _rows_of(block[:used], heads_C3, first=number)
            place, number, rest = place + used, number + len(heads_C3), block[used:]
    if rest:
        raise _cut_off(file, number, place)


def _heads(
    file: DumpFile, block: bytes, *, place: int, number: int, size: int
) -> tuple[np.ndarray, int]:
    """(layer, experts per token and tokens of each record that is whole, bytes of all). Records of
    one token, as they follow each other in generation, are found at once."""
    values = np.frombuffer(block[: len(block) // 4 * 4], "<i4")
    heads: list[np.ndarray] = []
    used = known = 0
    while used + RECORD.size <= len(block):
        head = block[used : used + RECORD.size]
        record = _record(file, head, place=place + used, number=number + known, size=size)
        if used + record.size > len(block):
            break
        several_CF = values[used // 4 :][: (len(block) - used) // record.size * record.size // 4]
        heads_C3 = several_CF.reshape(-1, record.size // 4)[:, :3]
        alike_C = (heads_C3[:, 1:] == heads_C3[0, 1:]).all(-1) & (heads_C3[:, 0] >= 0)
        count = 1 if record.tokens != 1 else int(np.argmin(np.append(alike_C, False)))
        heads.append(heads_C3[:count])
        known += count
        used += count * record.size
    return np.concatenate([np.empty((0, 3), "<i4"), *heads]), used


def _check_heads(file: DumpFile, heads_C3: np.ndarray, *, number: int, top_k: int) -> None:
    wrong_C = heads_C3[:, 1] != top_k
    if wrong_C.any():
        record = int(np.argmax(wrong_C))
        raise ValueError(
            f"{file.name}: record {number + record} has {heads_C3[record, 1]} experts a token; "
            f"{top_k} are expected, as in the first"
        )


def _rows_of(block: bytes, heads_C3: np.ndarray, *, first: int) -> Rows:
    """`first`: number of the first record."""
    layer_C, top_k, tokens_C = heads_C3[:, 0], int(heads_C3[0, 1]), heads_C3[:, 2].astype(np.int64)
    before_C = np.cumsum(tokens_C) - tokens_C
    values = np.frombuffer(block, "<i4")
    is_id = np.ones(len(values), bool)
    head_C = before_C * top_k + 3 * np.arange(len(heads_C3))
    for part in range(3):
        is_id[head_C + part] = False
    return Rows(
        call_R=np.repeat(first + np.arange(len(heads_C3)), tokens_C),
        row_R=np.arange(tokens_C.sum()) - np.repeat(before_C, tokens_C),
        layer_R=np.repeat(layer_C.astype(np.int64), tokens_C),
        ids_RK=values[is_id].reshape(-1, top_k),
    )
