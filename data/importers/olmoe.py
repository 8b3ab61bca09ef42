"""OLMoE's analysis: JSON Lines, a block of tokens on each.

T = tokens, L = MoE layers, K = experts per token.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from data.importers.reading.batching import in_batches
from data.importers.reading.numbered_layers import require_alike
from data.importers.reading.numbered_text import numbered_lines
from data.importers.source import DumpFile, Meter, Options, Source, undescribed
from data.lines import parsed_json
from data.routing import Document, RoutingBatch

NAME = "olmoe"
TITLE = "OLMoE analysis"

LONGEST = 1 << 25  # bytes of a line
MOST_TOKEN_ID = 2**31


def recognizes(file: DumpFile, head: bytes) -> bool:
    return head.lstrip()[:1] == b"{" and b'"exp_ids"' in head and b'"input_ids"' in head


def source(files: Sequence[DumpFile], options: Options) -> Source:
    shapes = [_shape(file) for file in files]
    require_alike(files, "(layers, experts per token)", shapes)
    layers, top_k = shapes[0]
    why = "does not say how many experts a layer has"
    experts = options.require("num_experts", files[0], why)

    def batches(meter: Meter) -> Iterator[RoutingBatch]:
        blocks = (block for file in files for block in _blocks(file, meter))
        return in_batches(
            _batch(number, *block, shape=shapes[0]) for number, block in enumerate(blocks)
        )

    return Source(
        format=NAME,
        engine="transformers",
        layers=undescribed(layers, num_experts=experts, top_k=top_k),
        batches=batches,
    )


def _batch(
    doc_id: int,
    origin: str,
    ids_TLK: np.ndarray,
    token_id_T: np.ndarray,
    *,
    shape: tuple[int, ...],
) -> RoutingBatch:
    """ValueError: it is not of that shape: (layers, experts per token)."""
    if ids_TLK.shape[1:] != shape:
        raise ValueError(
            f"{origin}: exp_ids of {ids_TLK.shape[1]} layers and {ids_TLK.shape[2]} experts a "
            f"token; {shape[0]} and {shape[1]} are expected, as in the first line"
        )
    return RoutingBatch.of(
        doc_id_T=np.full(len(ids_TLK), doc_id),
        position_T=np.arange(len(ids_TLK)),
        token_id_T=token_id_T,
        expert_ids_TLK=ids_TLK,
        documents=(Document(doc_id=doc_id, text="", origin=origin),),
    )


def _shape(file: DumpFile) -> tuple[int, ...]:
    """(layers, experts per token)"""
    for _, ids_TLK, _ in _blocks(file, Meter()):
        return ids_TLK.shape[1:]
    raise ValueError(f"{file.name} is empty; lines with input_ids and exp_ids are expected")


def _blocks(file: DumpFile, meter: Meter) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(where it stands, ids_TLK, token_id_T)"""
    for number, line in numbered_lines(file, meter, longest=LONGEST):
        where = f"{file.name}:{number}"
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}: not UTF-8 at byte {error.start}; copy it again") from error
        if not text.strip():
            continue
        block = parsed_json(text, where)
        if not isinstance(block, dict):
            raise ValueError(f"{where}: {type(block).__name__} where an object is expected")
        token_id_T = _array(block.get("input_ids"), 1, f"{where}: input_ids")
        ids_TKL = _array(block.get("exp_ids"), 3, f"{where}: exp_ids")
        if len(ids_TKL) != len(token_id_T) or not ids_TKL.size:
            raise ValueError(
                f"{where}: exp_ids has the shape {ids_TKL.shape}, and input_ids {token_id_T.shape};"
                " [tokens, experts per token, layers] of the same tokens is expected"
            )
        if token_id_T.min() < 0 or token_id_T.max() >= MOST_TOKEN_ID:
            raise ValueError(
                f"{where}: token ids from {token_id_T.min()} to {token_id_T.max()}; "
                f"0 to {MOST_TOKEN_ID - 1} are expected"
            )
        yield where, ids_TKL.transpose(0, 2, 1), token_id_T


def _array(value: object, dimensions: int, where: str) -> np.ndarray:
    """Whole numbers in lists in lists. ValueError: anything else, or lists of unequal lengths."""
    flat: list[object] = [value]
    shape: list[int] = []
    for _ in range(dimensions):
        lengths = {len(one) if isinstance(one, list) else -1 for one in flat}
        if len(lengths) != 1 or -1 in lengths:
            raise ValueError(
                f"{where} is not a list of {dimensions} dimensions; lists of equal lengths are "
                "expected"
            )
        shape.append(lengths.pop())
        flat = list(chain.from_iterable(flat))  # type: ignore[arg-type]
    if not set(map(type, flat)) <= {int}:
        raise ValueError(f"{where} holds something else than whole numbers")
    try:
        return np.array(flat, np.int64).reshape(shape)
    except OverflowError as error:
        raise ValueError(f"{where} holds a number of more than 64 bits") from error
