"""Routed experts as the arrays that an engine's own Python gives, saved with numpy.save: vLLM's
first version, TensorRT-LLM, ROCm ATOM. A file is a text.

T = tokens, L = layers of the array, K = experts per token.
"""

from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

from data.importers.served.payloads import LONGEST_HEADER, MAGIC, logical, npy_header
from data.importers.source import BATCH_CHOICES, DumpFile, Meter, Options, Source, undescribed
from data.routing import UNKNOWN, Document, RoutingBatch

NAME = "arrays"
TITLE = "Arrays of routed experts [tokens, layers, experts per token] (.npy)"


def recognizes(file: DumpFile, head: bytes) -> bool:
    return head.startswith(MAGIC)


def source(files: Sequence[DumpFile], options: Options) -> Source:
    num_experts = options.require(
        "num_experts", files[0], "does not say how many experts a layer has"
    )
    _, (_, layers, top_k), _ = _header(files[0])
    for file in files:
        _, (_, *axes), _ = _header(file)
        if axes != [layers, top_k]:
            raise ValueError(
                f"{files[0].name} has {layers} layers and {top_k} experts a token, {file.name} "
                f"{axes[0]} and {axes[1]}; import models one by one"
            )
    if top_k > num_experts:
        raise ValueError(
            f"{files[0].name} has {top_k} experts a token, --num-experts is {num_experts}; give "
            "the number of routed experts of a layer"
        )

    def batches(meter: Meter) -> Iterator[RoutingBatch]:
        for doc_id, file in enumerate(files):
            yield from _batches(file, doc_id, num_experts, meter)

    return Source(
        format=NAME,
        engine=UNKNOWN,
        layers=undescribed(layers, num_experts=num_experts, top_k=top_k),
        batches=batches,
    )


def _header(file: DumpFile) -> tuple[str, tuple[int, int, int], int]:
    """(type, shape, bytes before the numbers). ValueError: the file is not as long as it says."""
    with file.path.open("rb") as stream:
        head = stream.read(LONGEST_HEADER + 12)
    dtype, shape, fortran, begin = npy_header(head, file.name)
    expected = begin + shape[0] * shape[1] * shape[2] * np.dtype(dtype).itemsize
    if file.size != expected:
        raise ValueError(
            f"{file.name}: {file.size:,} bytes, where {dtype[1:]} in the shape {shape} has "
            f"{expected:,}; copy it again"
        )
    if not shape[0]:
        raise ValueError(f"{file.name}: no rows in the shape {shape}; leave the file out")
    if fortran:
        raise ValueError(
            f"{file.name}: its first axis runs fastest; save numpy.ascontiguousarray of it"
        )
    return dtype, shape, begin


def _batches(file: DumpFile, doc_id: int, num_experts: int, meter: Meter) -> Iterator[RoutingBatch]:
    dtype, (rows, layers, top_k), begin = _header(file)
    step = max(1, BATCH_CHOICES // (layers * top_k))
    document = Document(doc_id=doc_id, text="", origin=file.name)
    with file.path.open("rb") as stream:
        stream.seek(begin)
        meter.advance(begin)
        for first in range(0, rows, step):
            ids_TLK = _rows(stream, dtype, (min(step, rows - first), layers, top_k), file)
            meter.advance(ids_TLK.nbytes)
            tokens = len(ids_TLK)
            yield RoutingBatch.of(
                doc_id_T=np.full(tokens, doc_id),
                position_T=np.arange(first, first + tokens),
                expert_ids_TLK=logical(ids_TLK, num_experts),
                documents=(document,) if first + tokens == rows else (),
            )


def _rows(stream: IO[bytes], dtype: str, shape: tuple[int, int, int], file: DumpFile) -> np.ndarray:
    expected = shape[0] * shape[1] * shape[2] * np.dtype(dtype).itemsize
    data = stream.read(expected)
    if len(data) < expected:
        raise ValueError(f"{file.name}: it became shorter while it was read; import it again")
    return np.frombuffer(data, dtype).reshape(shape)
