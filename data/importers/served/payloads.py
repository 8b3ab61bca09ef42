"""What "return routed experts" gives: the ids of one text, in any of the forms that engines send.

T = tokens, L = layers of the payload, K = experts per token.
"""

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from data.routing import NO_EXPERT

MAGIC = b"\x93NUMPY"
MOST_EXPERTS = 4_096  # of a layer, as a trace takes them
MOST_TOP_K = 256
MOST_LAYERS = 4_096
HEADER = re.compile(
    rb"\{'descr': '[<|]([iu])([1248])', 'fortran_order': (False|True), "
    rb"'shape': \((\d{1,12}), (\d{1,12}), (\d{1,12})\), ?\}\s*"
)
LONGEST_HEADER = 4_096
NEMO = re.compile(r"nrlre1:(int8|int16|int32):(\d{1,12})x(\d{1,12})x(\d{1,12}):")
RAW_TYPES = ("<i4", "<u2", "u1")  # widest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What all payloads of a model have in common."""

    num_layers: int  # of the payload: all hidden layers in some versions, MoE layers in others
    top_k: int
    raw_type: str | None = None  # of RAW_TYPES, where payloads do not describe themselves


def decoded(payload: object, *, where: str, layout: Layout | None = None) -> np.ndarray:
    """ids_TLK of any integer type. ValueError: it is none of the forms, or of another layout.

    `layout` is needed for bytes that do not describe themselves.
    """
    if isinstance(payload, str):
        ids_TLK = _of_text(payload, where, layout)
    elif isinstance(payload, list):
        ids_TLK = _of_lists(payload, where, layout)
    elif isinstance(payload, dict):
        ids_TLK = _of_object(payload, where)
    else:
        raise ValueError(
            f"{where}: routed experts are {_kind(payload)}; a text, a list or an object is expected"
        )
    if layout is not None and ids_TLK.shape[1:] != (layout.num_layers, layout.top_k):
        raise ValueError(
            f"{where}: routed experts of {ids_TLK.shape[1]} layers and {ids_TLK.shape[2]} a token, "
            f"where {layout.num_layers} and {layout.top_k} are expected"
        )
    return ids_TLK


def logical(ids_TLK: np.ndarray, num_experts: int) -> np.ndarray:
    """As signed numbers. The largest number of a type without sign is the -1 that it cannot hold,
    unless there is such an expert."""
    if ids_TLK.dtype.kind == "i":
        return ids_TLK
    none = np.iinfo(ids_TLK.dtype).max
    wide = ids_TLK.astype(np.int32 if ids_TLK.dtype.itemsize < 4 else np.int64)
    return np.where(ids_TLK == none, NO_EXPERT, wide) if none >= num_experts else wide


def describes_itself(payload: object) -> bool:
    """Its shape stands in it, unlike in bytes as base64 alone."""
    return not isinstance(payload, str) or payload.startswith(("nrlre1:", _MAGIC_TEXT))


def raw_type(payloads: Iterable[bytes], num_experts: int) -> str:
    """The widest type in which most numbers that are not 0 are ids: a narrower one has several
    numbers for each, and a wider one joins several to one that no expert has.

    Where none has, `num_experts` is too small, and the most that a layer can have stands for it.
    """
    data = list(payloads)
    for experts in (num_experts, MOST_EXPERTS):
        for name in RAW_TYPES:
            if not any(len(one) % np.dtype(name).itemsize for one in data):
                ids = logical(np.concatenate([np.frombuffer(one, name) for one in data]), experts)
                ids = ids[ids != 0]
                if ((ids >= NO_EXPERT) & (ids < experts)).sum() * 2 >= len(ids):
                    return name
    raise AssertionError  # every byte is below MOST_EXPERTS


def raw_layers(sizes: Sequence[tuple[int, int]], top_k: int) -> int | None:
    """Number of layers by which most payloads have one row a token, but for the last token.

    `sizes`: (numbers in it, tokens that may have a row) of each. An engine that is off by one row
    is told by the others that are not, or by the next likely number.
    """
    votes = Counter[int]()
    for numbers, tokens in sizes:
        seen = set[int]()
        for likely, rows in enumerate((tokens - 1, tokens, tokens - 2)):
            if rows < 1 or numbers % (rows * top_k):
                continue
            layers = numbers // (rows * top_k)
            if 1 <= layers <= MOST_LAYERS and layers not in seen:
                seen.add(layers)
                votes[layers] += 4 - likely
    fitting = {
        layers: count
        for layers, count in votes.items()
        if all(numbers % (layers * top_k) == 0 for numbers, _ in sizes)
    }
    best = fitting or votes
    return max(best, key=lambda layers: (best[layers], layers)) if best else None


def raw_bytes(payload: str, where: str) -> bytes:
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(
            f"{where}: routed experts are not base64 ({len(payload):,} characters: "
            f"{str(error)[:80]})"
        ) from error


def npy_header(head: bytes, where: str) -> tuple[str, tuple[int, int, int], bool, int]:
    """(type, shape, whether the first axis runs fastest, bytes before the numbers) of a .npy."""
    if not head.startswith(MAGIC):
        raise ValueError(f"{where}: no .npy file: it begins with {head[:8]!r}")
    width = 2 if head[6:7] == b"\x01" else 4
    length = int.from_bytes(head[8 : 8 + width], "little")
    begin = 8 + width
    text = head[begin : begin + length]
    if not length <= LONGEST_HEADER or len(text) < length:
        raise ValueError(
            f"{where}: the header of the .npy has {length:,} bytes, more than there are or than "
            f"{LONGEST_HEADER:,}"
        )
    match = HEADER.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{where}: a .npy with header {text[:64].strip()!r}; whole numbers in the shape "
            "(tokens, layers, experts per token) are expected"
        )
    sign, size, fortran, *axes = match.groups()
    rows, layers, top_k = map(int, axes)
    require_shape(rows, layers, top_k, where)
    return (f"<{(sign + size).decode()}", (rows, layers, top_k), fortran == b"True", begin + length)


def require_shape(rows: int, layers: int, top_k: int, where: str) -> None:
    if not (1 <= layers <= MOST_LAYERS and 1 <= top_k <= MOST_TOP_K):
        raise ValueError(
            f"{where}: routed experts in the shape ({rows}, {layers}, {top_k}); 1 to "
            f"{MOST_LAYERS:,} layers and 1 to {MOST_TOP_K} experts a token are expected"
        )


def _of_text(payload: str, where: str, layout: Layout | None) -> np.ndarray:
    if match := NEMO.match(payload):
        shape = int(match[2]), int(match[3]), int(match[4])
        return _shaped(
            raw_bytes(payload[match.end() :], where), f"<{np.dtype(match[1]).str[1:]}", shape, where
        )
    data = raw_bytes(payload, where)
    if data.startswith(MAGIC):
        return _of_npy(data, where)
    if layout is None or layout.raw_type is None:
        raise ValueError(
            f"{where}: routed experts are {len(data):,} bytes without a shape, unlike those before"
        )
    row = layout.num_layers * layout.top_k * np.dtype(layout.raw_type).itemsize
    if len(data) % row:
        raise ValueError(
            f"{where}: routed experts are {len(data):,} bytes, which is no whole number of rows of "
            f"{row} bytes ({layout.num_layers} layers, {layout.top_k} a token)"
        )
    ids = np.frombuffer(data, layout.raw_type)
    return ids.reshape(-1, layout.num_layers, layout.top_k)


def _of_npy(data: bytes, where: str) -> np.ndarray:
    dtype, shape, fortran, begin = npy_header(data[: LONGEST_HEADER + 12], where)
    ids_TLK = _shaped(data[begin:], dtype, shape, where)
    return ids_TLK.reshape(-1).reshape(shape, order="F") if fortran else ids_TLK


def _shaped(data: bytes, dtype: str, shape: tuple[int, int, int], where: str) -> np.ndarray:
    """ValueError unless the numbers are just as many as the shape claims."""
    require_shape(*shape, where)
    expected = shape[0] * shape[1] * shape[2] * np.dtype(dtype).itemsize
    if len(data) != expected:
        raise ValueError(
            f"{where}: routed experts are {len(data):,} bytes, where {dtype[1:]} in the shape "
            f"{shape} has {expected:,}"
        )
    return np.frombuffer(data, dtype).reshape(shape)


def _of_lists(rows: list[object], where: str, layout: Layout | None) -> np.ndarray:
    """Lists of lists of lists, all of one length on each level."""
    decisions = _level(rows, where)
    numbers = _level(decisions, where)
    if not rows:
        axes = (layout.num_layers, layout.top_k) if layout else (0, 0)
        return np.zeros((0, *axes), np.int32)
    shape = len(rows), len(decisions) // len(rows), len(numbers) // max(1, len(decisions))
    require_shape(*shape, where)
    return _whole_numbers(numbers, where).reshape(shape)


def _level(lists: Sequence[object], where: str) -> list[Any]:
    """The elements of all; ValueError unless all are lists of one length."""
    if not all(isinstance(one, list) for one in lists):
        odd = next(one for one in lists if not isinstance(one, list))
        raise ValueError(
            f"{where}: {_kind(odd)} in routed experts where a list of tokens, layers or experts "
            "is expected"
        )
    nested = [one for one in lists if isinstance(one, list)]
    lengths = set(map(len, nested))
    if len(lengths) > 1:
        raise ValueError(
            f"{where}: lists of {min(lengths)} and of {max(lengths)} elements on one level of "
            "routed experts; every token has as many layers, and every layer as many experts"
        )
    return list(chain.from_iterable(nested))


def _whole_numbers(numbers: Sequence[object], where: str) -> np.ndarray:
    odd = set(map(type, numbers)) - {int}
    if odd:
        value = next(number for number in numbers if type(number) in odd)
        raise ValueError(
            f"{where}: {str(value)[:40]!r} ({_kind(value)}) among routed experts; whole numbers "
            "are expected"
        )
    try:
        return np.array(numbers, np.int64)
    except OverflowError as error:
        raise ValueError(f"{where}: a number beyond 64 bits among routed experts") from error


def _of_object(payload: dict[str, object], where: str) -> np.ndarray:
    """{data, shape, start}"""
    shape, data = payload.get("shape"), payload.get("data")
    if not isinstance(shape, list) or len(shape) != 3 or not all(type(n) is int for n in shape):
        raise ValueError(
            f"{where}: routed experts with shape {str(shape)[:80]}; three whole numbers (tokens, "
            "layers, experts per token) are expected"
        )
    if any(not 0 <= axis < 2**40 for axis in shape):
        raise ValueError(f"{where}: routed experts in the shape {str(shape)[:80]}")
    rows, layers, top_k = shape
    require_shape(rows, layers, top_k, where)
    numbers = rows * layers * top_k
    if isinstance(data, str):
        held = raw_bytes(data, where)
        dtype = _dtype(payload.get("dtype"), len(held), numbers, where)
        return _shaped(held, dtype, (rows, layers, top_k), where)
    if not isinstance(data, list):
        raise ValueError(
            f"{where}: routed experts with data that is {_kind(data)}; base64 or a list is expected"
        )
    if data and isinstance(data[0], list):
        ids_TLK = _of_lists(data, where, None)
        if ids_TLK.shape != (rows, layers, top_k):
            raise ValueError(f"{where}: shape {shape}, data in the shape {list(ids_TLK.shape)}")
        return ids_TLK
    if len(data) != numbers:
        raise ValueError(f"{where}: {len(data):,} routed experts, where {shape} has {numbers:,}")
    return _whole_numbers(data, where).reshape(rows, layers, top_k)


def _dtype(said: object, size: int, numbers: int, where: str) -> str:
    """Of the bytes of an object: as it says, or as many bytes a number as there are."""
    if said is None:
        return {4: "<i4", 2: "<i2"}.get(size // numbers if numbers else 1, "<u1")
    if not isinstance(said, str) or not re.fullmatch("u?int(8|16|32|64)", said):
        raise ValueError(
            f"{where}: routed experts of type {str(said)[:40]!r}; int or uint expected"
        )
    return f"<{np.dtype(said).str[1:]}"


def _kind(value: object) -> str:
    names = {str: "a text", dict: "an object", list: "a list", bool: "true or false"}
    return names.get(type(value), "nothing" if value is None else "a number")


_MAGIC_TEXT = base64.b64encode(MAGIC).decode()[:8]  # of six bytes, exactly
