"""Expert loads that a fork of Megatron-Core dumps: `mcore_ep_load_dump_v1`, a .npz a rank.

Ranks are summed; a document is a forward pass. Experts are physical, and no map of them is there.
L = layers of a rank, N = forward passes, P = physical experts.
"""

import ast
import math
import re
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from data.batch_check import MOST_COUNTED
from data.counts import CountsBatch
from data.importers.checks.findings import finding
from data.importers.reading.checksum import crc_of
from data.importers.reading.numbered_layers import MOST_LAYERS, numbered
from data.importers.source import BATCH_CHOICES, DumpFile, Meter, Options, Source
from data.new_trace import MOST_EXPERTS
from data.routing import Document, Finding

NAME = "mcore-npz"
TITLE = "Megatron-Core expert loads (mcore_ep_load_dump_v1, .npz)"

VERSION: Final = "mcore_ep_load_dump_v1"
SMALL = 1 << 20  # bytes of every array but loads
HEADER = re.compile(
    rb"\{'descr': '([<|][iu][1248]|<U\d{1,3})', 'fortran_order': False, "
    rb"'shape': (\([\d, ]{0,60}\)), \}\s*"
)
ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    struct.error,
    ValueError,
    OverflowError,
    EOFError,
    IndexError,
    OSError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """Of a member that is stored as it is: where its numbers lie in the file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int  # byte of the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """What a rank counted."""

    file: DumpFile
    rank: int
    group: tuple[int, ...]  # ranks whose loads are one
    layers: tuple[int, ...]  # their numbers in the model
    passes_L: np.ndarray  # of each layer; rows beyond were never written
    loads: Array  # [L, N, P]


def recognizes(file: DumpFile, head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04") and VERSION.encode("utf-32-le") in head


def source(files: Sequence[DumpFile], options: Options) -> Source:
    dumps = [_dump(file) for file in files]
    _check_ranks(dumps)
    experts = dumps[0].loads.shape[2]
    if options.num_experts not in (None, experts):
        raise ValueError(
            f"{files[0].name} counts {experts} experts, --num-experts says {options.num_experts}"
        )
    layers = sorted({layer for dump in dumps for layer in dump.layers})
    return Source(
        format=NAME,
        engine="megatron-core",
        layers=numbered(layers, num_experts=experts, top_k=options.top_k),
        batches=lambda meter: _batches(dumps, layers, meter),
        config={"physical_experts": experts},
        counts_only=True,
        findings=(finding("counts-only", len(files), files[0].name), *_missing(dumps)),
    )


def _check_ranks(dumps: Sequence[Dump]) -> None:
    by_rank: dict[int, Dump] = {}
    for dump in dumps:
        other = by_rank.setdefault(dump.rank, dump)
        if other is not dump:
            raise ValueError(
                f"{other.file.name} and {dump.file.name} are both of rank {dump.rank}: these are "
                "two captures, so import each by itself"
            )
        if dump.loads.shape[2] != dumps[0].loads.shape[2]:
            raise ValueError(
                f"{dumps[0].file.name} counts {dumps[0].loads.shape[2]} experts, {dump.file.name} "
                f"{dump.loads.shape[2]}: import one model at a time"
            )


def _missing(dumps: Sequence[Dump]) -> list[Finding]:
    """Passes that a rank or layer lacks, or all of them where a rank of the group has no file."""
    counted = np.concatenate([dump.passes_L for dump in dumps])
    absent = {rank for dump in dumps for rank in dump.group} - {dump.rank for dump in dumps}
    if absent:
        example = f"{dumps[0].file.name}: rank {min(absent)} of its group has no file"
        return [finding("missing-passes", max(1, int(counted.max())), example)]
    number = int(counted.max() - counted.min())
    if not number:
        return []
    shortest = min(dumps, key=lambda dump: int(dump.passes_L.min()))
    example = f"{shortest.file.name}: a layer of {counted.min()} passes, others of {counted.max()}"
    return [finding("missing-passes", number, example)]


def _batches(dumps: Sequence[Dump], layers: Sequence[int], meter: Meter) -> Iterator[CountsBatch]:
    places = {layer: place for place, layer in enumerate(layers)}
    passes = max(int(dump.passes_L.max()) for dump in dumps)
    experts = dumps[0].loads.shape[2]
    at_once = max(1, BATCH_CHOICES // (len(layers) * experts))
    doc_id, read = 0, 0
    for start in range(0, passes, at_once):
        total_NLE = np.zeros((min(at_once, passes - start), len(layers), experts), np.int64)
        for dump in dumps:
            for row, layer in enumerate(dump.layers):
                loads_NP = _loads(dump, row, start, start + len(total_NLE))
                total_NLE[: len(loads_NP), places[layer]] += loads_NP
                meter.advance(loads_NP.size * dump.loads.dtype.itemsize)
                read += loads_NP.size * dump.loads.dtype.itemsize
        used = np.flatnonzero(total_NLE.any((1, 2)))
        if len(used):
            name = dumps[0].file.name
            documents = [
                Document(doc_id=doc_id + place, text="", origin=f"{name}:pass {start + one + 1}")
                for place, one in enumerate(used.tolist())
            ]
            doc_id += len(used)
            yield CountsBatch(tokens_NLE=total_NLE[used], documents=tuple(documents))
    meter.advance(sum(dump.file.size for dump in dumps) - read)
    if not doc_id:
        raise ValueError(f"{dumps[0].file.name} counts no choice; capture while the model runs")


def _loads(dump: Dump, row: int, start: int, stop: int) -> np.ndarray:
    """int64 [passes, P] of one layer, as many as it has. ValueError: no counts."""
    _, passes, experts = dump.loads.shape
    stop = min(stop, int(dump.passes_L[row]))
    rows = max(0, stop - start)
    item = dump.loads.dtype.itemsize
    with dump.file.path.open("rb") as file:
        file.seek(dump.loads.begin + (row * passes + start) * experts * item)
        data = file.read(rows * experts * item)
    if len(data) < rows * experts * item:
        raise ValueError(f"{dump.file.name} became shorter while it was read; import it again")
    loads_NP = np.frombuffer(data, dump.loads.dtype).reshape(rows, experts).astype(np.int64)
    if loads_NP.size and (loads_NP.min() < 0 or loads_NP.max() >= MOST_COUNTED):
        raise ValueError(
            f"{dump.file.name}: loads of layer {dump.layers[row]} are {loads_NP.min()} to "
            f"{loads_NP.max()}; 0 to {MOST_COUNTED - 1:,} are expected"
        )
    return loads_NP


def _dump(file: DumpFile) -> Dump:
    arrays = _arrays(file)
    if _text(file, arrays) != VERSION:
        raise ValueError(f"{file.name} has another dump_version than {VERSION}")
    loads = arrays.get("loads")
    if loads is None or len(loads.shape) != 3 or loads.dtype.kind not in "iu":
        found = "missing" if loads is None else f"{loads.dtype} of shape {loads.shape}"
        raise ValueError(
            f"{file.name}: loads is {found}; integers of layers, forward passes and experts are "
            "expected"
        )
    layers = _numbers(file, arrays, "layer_numbers")
    passes_L = _numbers(file, arrays, "forward_counts")
    if not len(layers) == len(passes_L) == loads.shape[0] or len(set(layers.tolist())) < len(
        layers
    ):
        raise ValueError(
            f"{file.name}: loads of {loads.shape[0]} layers, {len(layers)} layer_numbers and "
            f"{len(passes_L)} forward_counts; one for each layer is expected"
        )
    if not 1 <= len(layers) <= MOST_LAYERS or not 1 <= loads.shape[2] <= MOST_EXPERTS:
        raise ValueError(
            f"{file.name}: loads of shape {loads.shape}; layers, forward passes and at most "
            f"{MOST_EXPERTS:,} experts are expected"
        )
    if passes_L.max() > loads.shape[1]:
        raise ValueError(
            f"{file.name}: forward_counts up to {passes_L.max()}, and loads of {loads.shape[1]} "
            "forward passes"
        )
    return Dump(
        file=file,
        rank=int(_numbers(file, arrays, "global_rank")[0]),
        group=tuple(_numbers(file, arrays, "ep_group_ranks").tolist()),
        layers=tuple(layers.tolist()),
        passes_L=passes_L,
        loads=loads,
    )


def _numbers(file: DumpFile, arrays: dict[str, Array], name: str) -> np.ndarray:
    """One or more from 0, as int64."""
    array = arrays.get(name)
    if array is None or array.dtype.kind not in "iu" or len(array.shape) > 1:
        raise ValueError(f"{file.name}: {name} is missing, or no list of integers")
    numbers = _read(file, array).astype(np.int64).ravel()
    if not len(numbers) or numbers.min() < 0 or numbers.max() >= 2**31:
        raise ValueError(f"{file.name}: {name} is empty, or holds another number than from 0")
    return numbers


def _text(file: DumpFile, arrays: dict[str, Array]) -> str:
    array = arrays.get("dump_version")
    if array is None or array.dtype.kind != "U" or array.shape:
        return ""
    try:
        return str(_read(file, array)[()])
    except ValueError:  # no code point
        return ""


def _read(file: DumpFile, array: Array) -> np.ndarray:
    length = math.prod(array.shape) * array.dtype.itemsize
    if length > SMALL:
        raise ValueError(f"{file.name}: an array of {array.shape} numbers where few are expected")
    with file.path.open("rb") as opened:
        opened.seek(array.begin)
        data = opened.read(length)
    if len(data) < length:
        raise ValueError(f"{file.name} became shorter while it was read; import it again")
    return np.frombuffer(data, array.dtype).reshape(array.shape)


def _arrays(file: DumpFile) -> dict[str, Array]:
    """Where each lies. ValueError: it is no .npz as numpy.savez writes it, or claims too much."""
    try:
        with zipfile.ZipFile(file.path) as zipped:
            members = zipped.infolist()
    except ZIP_ERRORS as error:
        raise ValueError(f"{file.name} is no whole zip; copy it again") from error
    return {info.filename.removesuffix(".npy"): _array(file, info) for info in members}


def _array(file: DumpFile, info: zipfile.ZipInfo) -> Array:
    name = f"{file.name}: {info.filename!r:.60}"
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(f"{name} is compressed or encrypted; write it with numpy.savez")
    if not 0 <= info.header_offset < file.size:
        raise ValueError(f"{name} begins beyond the end of the file; copy it again")
    with file.path.open("rb") as opened:
        opened.seek(info.header_offset)
        local = opened.read(30)
        skipped = sum(struct.unpack("<HH", local[26:30])) if len(local) == 30 else 0
        start = info.header_offset + 30 + skipped
        opened.seek(start)
        head = opened.read(2_000)
        if crc_of(opened, start, info.file_size) != info.CRC:
            raise ValueError(f"{name} does not fit its checksum; copy it again")
    length = int.from_bytes(head[8:10], "little")
    match = HEADER.fullmatch(head[10 : 10 + length])
    if not head.startswith(b"\x93NUMPY\x01") or match is None:
        raise ValueError(f"{name} is no array of integers in C order, or a short text")
    dtype, shape = np.dtype(match[1].decode()), _shape(match[2].decode(), name)
    begin = start + 10 + length
    nbytes = math.prod(shape) * dtype.itemsize
    if 10 + length + nbytes != info.file_size or begin + nbytes > file.size:
        raise ValueError(
            f"{name} has {info.file_size:,} bytes, where {dtype.str[1:]} of shape {shape} has "
            f"{10 + length + nbytes:,}; copy it again"
        )
    return Array(dtype=dtype, shape=shape, begin=begin)


def _shape(text: str, name: str) -> tuple[int, ...]:
    try:
        shape = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"{name} has the shape {text}, which is none") from error
    return tuple(shape)
