"""moe-policylang 1.15: choices that it computed again from router logits, as JSON Lines with a
header, or Parquet.

R = rows (what one token chose in one layer), K = experts per token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from data.importers import policylang_parquet
from data.importers.policylang_rows import UNKNOWN_TOKEN, Entries, Prompts, phase_of
from data.importers.reading.json_values import text_or_none
from data.importers.reading.numbered_layers import numbered, require_alike, require_layers
from data.importers.reading.numbered_text import numbered_lines
from data.importers.source import DumpFile, Meter, Options, Source
from data.lines import parsed_json
from data.new_trace import MOST_EXPERTS
from data.routing import UNKNOWN, RoutingBatch

NAME = "policylang"
TITLE = "moe-policylang trace (JSON Lines or Parquet)"

LONGEST = 1 << 20  # bytes of a line; a row may hold the logits of all experts
ROWS = 50_000  # of a block
LOOKED_AT = 2_000_000  # rows by which layers are known
MOST = 2**31  # of every number that counts


@dataclass(frozen=True, slots=True)
class Header:
    model_name: str
    num_layers: int  # MoE layers
    num_experts: int
    top_k: int


def recognizes(file: DumpFile, head: bytes) -> bool:
    if head.startswith(policylang_parquet.MAGIC):
        return policylang_parquet.recognizes(file)
    first = head.split(b"\n", 1)[0]
    return first.lstrip()[:1] == b"{" and b'"num_entries"' in first and b'"top_k"' in first


def source(files: Sequence[DumpFile], options: Options) -> Source:
    is_parquet = [file.head().startswith(policylang_parquet.MAGIC) for file in files]
    headers = [
        _of_parquet(file, options) if parquet else _header(file)
        for file, parquet in zip(files, is_parquet, strict=True)
    ]
    require_alike(
        files,
        "(layers, experts, experts per token)",
        [(one.num_layers, one.num_experts, one.top_k) for one in headers],
    )
    header = headers[0]

    def entries(file: DumpFile, parquet: bool, meter: Meter) -> Iterator[Entries]:
        read = policylang_parquet.entries if parquet else _entries
        return read(file, meter, top_k=header.top_k)

    first = [
        _first_layers(entries(file, parquet, Meter()), header.num_layers)
        for file, parquet in zip(files, is_parquet, strict=True)
    ]
    layers = require_layers(files[0], (layer for found in first for layer in found))
    if 0 < header.num_layers < len(layers):
        raise ValueError(
            f"{files[0].name} has rows of the layers {', '.join(map(str, layers)):.200}, and its "
            f"header says {header.num_layers} layers"
        )

    def batches(meter: Meter) -> Iterator[RoutingBatch]:
        prompts = Prompts(layers)
        for file, parquet in zip(files, is_parquet, strict=True):
            yield from prompts.batches(file.name, entries(file, parquet, meter))

    return Source(
        format=NAME,
        engine="moe-policylang",
        layers=numbered(layers, num_experts=header.num_experts, top_k=header.top_k),
        batches=batches,
        model_name=header.model_name,
        weights_sum="at most one",
    )


def _of_parquet(file: DumpFile, options: Options) -> Header:
    """What a file does not say: it has rows only."""
    top_k = policylang_parquet.top_k(file)
    why = "does not say how many experts a layer has"
    return Header(UNKNOWN, 0, options.require("num_experts", file, why), top_k)


def _first_layers(blocks: Iterator[Entries], num_layers: int) -> set[int]:
    """Of the first prompts, or as many as the header says."""
    layers: set[int] = set()
    rows = 0
    for block in blocks:
        layers |= set(np.unique(block.layer_R).tolist())
        rows += len(block.layer_R)
        several = len(np.unique(block.prompt_R)) > 2
        if several or rows > LOOKED_AT or 0 < num_layers <= len(layers):
            break
    return layers


def _header(file: DumpFile) -> Header:
    for number, line in islice(numbered_lines(file, Meter(), longest=LONGEST), 1):
        value = _object(line, f"{file.name}:{number}")
        name = text_or_none(value.get("model_name"), f"{file.name}:{number}: model_name")
        names = ("num_layers", "num_experts", "top_k")
        counts = [value[key] for key in names if type(value.get(key)) is int]
        if len(counts) < len(names):
            raise ValueError(
                f"{file.name}:{number}: a header with num_layers, num_experts and top_k is expected"
            )
        layers, experts, top_k = counts
        if not (1 <= top_k <= experts <= MOST_EXPERTS and layers >= 1):
            raise ValueError(
                f"{file.name}:{number}: {layers} layers with {top_k} of {experts} experts; 1 to "
                f"{MOST_EXPERTS:,} experts are expected"
            )
        return Header(name or UNKNOWN, layers, experts, top_k)
    raise ValueError(f"{file.name} is empty; a header and rows are expected")


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = parsed_json(line.decode(), where)
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not UTF-8 at byte {error.start}; copy it again") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {type(value).__name__} where an object is expected")
    return value


@dataclass(slots=True)
class _Block:
    """Rows as lists."""

    prompt: list[int] = field(default_factory=list)
    token: list[int] = field(default_factory=list)
    layer: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    token_id: list[int] = field(default_factory=list)
    phase: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    domain: list[str | None] = field(default_factory=list)

    def add(self, row: dict[str, Any], where: str, *, top_k: int) -> None:
        self.prompt.append(_whole(row, "p", where, default=0))
        self.token.append(_whole(row, "t", where))
        self.layer.append(_whole(row, "l", where))
        self.ids += _list(row, "e", where, kinds={int}, length=top_k)
        weights = row.get("s") is not None
        self.weights += (
            _list(row, "s", where, kinds={int, float}, length=top_k)
            if weights
            else [np.nan] * top_k
        )
        self.token_id.append(_whole(row, "ti", where, default=UNKNOWN_TOKEN))
        self.phase.append(phase_of(row.get("ph"), where))
        loss = row.get("tl")
        if loss is not None and type(loss) not in (int, float):
            raise ValueError(f"{where}: 'tl' is {type(loss).__name__}; a loss in nats is expected")
        self.loss.append(np.nan if loss is None else loss)
        self.domain.append(text_or_none(row.get("dm"), f"{where}: 'dm'"))

    def entries(self, where: str, *, top_k: int) -> Entries:
        try:
            with np.errstate(over="ignore"):
                return Entries(
                    prompt_R=np.array(self.prompt, np.int64),
                    token_R=np.array(self.token, np.int64),
                    layer_R=np.array(self.layer, np.int64),
                    ids_RK=np.array(self.ids, np.int64).reshape(-1, top_k),
                    weights_RK=np.array(self.weights, np.float64)
                    .astype(np.float32)
                    .reshape(-1, top_k),
                    token_id_R=np.array(self.token_id, np.int64),
                    phase_R=np.array(self.phase, np.uint8),
                    loss_R=np.array(self.loss, np.float64).astype(np.float32),
                    domain_R=self.domain,
                )
        except OverflowError as error:
            raise ValueError(f"{where}: a number that is too large before this line") from error


def _entries(file: DumpFile, meter: Meter, *, top_k: int) -> Iterator[Entries]:
    block, where = _Block(), file.name
    for number, line in numbered_lines(file, meter, longest=LONGEST):
        if number == 1 or not line.strip():
            continue
        where = f"{file.name}:{number}"
        block.add(_object(line, where), where, top_k=top_k)
        if len(block.prompt) == ROWS:
            yield block.entries(where, top_k=top_k)
            block = _Block()
    if block.prompt:
        yield block.entries(where, top_k=top_k)


def _whole(row: dict[str, Any], name: str, where: str, *, default: int | None = None) -> int:
    value = row.get(name)
    if value is None and default is not None:
        return default
    if type(value) is not int or not 0 <= value < MOST:
        shown = value if type(value) is float else type(value).__name__
        raise ValueError(
            f"{where}: {name!r} is {shown}, out of place; a whole number below {MOST:,} is expected"
        )
    return value


def _list(
    row: dict[str, Any], name: str, where: str, *, kinds: set[type], length: int
) -> list[Any]:
    values = row.get(name)
    if not isinstance(values, list) or len(values) != length or not set(map(type, values)) <= kinds:
        raise ValueError(f"{where}: {name!r} is no list of {length} numbers, as the header says")
    return values
