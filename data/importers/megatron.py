"""Megatron-Core's router trace: JSON Lines, a file a rank, a record for each layer of a step.

A document is what one rank read in one step, or in one microbatch of it: a layer that comes again
begins the next. Records name no token and no weight. Sidecars of logits and hidden states are not
read. T = tokens, L = layers, K = experts per token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from data.importers.checks.findings import finding
from data.importers.reading.numbered_layers import numbered, require_layers
from data.importers.reading.numbered_text import numbered_lines
from data.importers.source import BATCH_CHOICES, DumpFile, Meter, Options, Source
from data.lines import parsed_json
from data.new_trace import MOST_EXPERTS
from data.routing import INT16, NO_EXPERT, Document, Finding, RoutingBatch, concatenated

NAME = "megatron"
TITLE = "Megatron-Core router trace (router_trace_rank*.jsonl)"

LONGEST = 1 << 25  # bytes of a line
MOST_CHOICES = 100_000_000  # of a document: bounds memory
MOST_NUMBER = 2**48  # of steps and ranks
LOOKED_AT = 2  # documents of a file by which its layers are known


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one rank chose in one layer of a step."""

    where: str
    step: int
    rank: int
    layer: int
    draft: bool  # of a head that predicts further tokens
    ids_TK: np.ndarray  # int16
    experts: int | None  # where the record says it, for the logits beside it


@dataclass(slots=True)
class Gathered:
    """Records of a document that is not complete."""

    layers: dict[int, Record] = field(default_factory=dict)

    def ends_before(self, record: Record) -> bool:
        first = next(iter(self.layers.values()), record)
        another = (first.step, first.rank) != (record.step, record.rank)
        return another or record.layer in self.layers

    def add(self, record: Record) -> None:
        first = next(iter(self.layers.values()), record)
        if record.ids_TK.shape != first.ids_TK.shape:
            tokens, top_k = record.ids_TK.shape
            raise ValueError(
                f"{record.where}: {tokens} tokens and {top_k} experts a token, where {first.where} "
                f"of the same step has {len(first.ids_TK)} and {first.ids_TK.shape[1]}; all layers "
                "of a step are expected to be alike"
            )
        self.layers[record.layer] = record
        if len(self.layers) * record.ids_TK.size > MOST_CHOICES:
            raise ValueError(
                f"{record.where}: a step of more than {MOST_CHOICES:,} choices, more than can be "
                "read at once"
            )


def recognizes(file: DumpFile, head: bytes) -> bool:
    keys = (b'"top_indices"', b'"num_tokens"', b'"layer"', b'"step"')
    return head.lstrip()[:1] == b"{" and all(key in head for key in keys)


def source(files: Sequence[DumpFile], options: Options) -> Source:
    seen = [_first_records(file) for file in files]
    layers = [require_layers(file, seen_of) for file, seen_of in zip(files, seen, strict=True)]
    top_k = [next(iter(seen_of.values())).ids_TK.shape[1] for seen_of in seen]
    for file, numbers, choices in zip(files, layers, top_k, strict=True):
        if (numbers, choices) != (layers[0], top_k[0]):
            raise ValueError(
                f"{files[0].name} has layers {_shown(layers[0])} and {top_k[0]} experts a token, "
                f"{file.name} {_shown(numbers)} and {choices}; import ranks with the same layers "
                "together, and one model at a time"
            )
    experts = _experts(files[0], seen[0], options)
    return Source(
        format=NAME,
        engine="megatron-core",
        layers=numbered(layers[0], num_experts=experts, top_k=top_k[0]),
        batches=lambda meter: _batches(files, layers[0], top_k[0], meter),
    )


def _shown(numbers: Sequence[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]} ({len(numbers)} of them)"


def _experts(file: DumpFile, seen: dict[int, Record], options: Options) -> int:
    stated = next((one.experts for one in seen.values() if one.experts is not None), None)
    if stated is None:
        return options.require("num_experts", file, "does not say how many experts a layer has")
    if options.num_experts not in (None, stated):
        raise ValueError(
            f"{file.name} has logits of {stated} experts, --num-experts says {options.num_experts}"
        )
    return stated


def _first_records(file: DumpFile) -> dict[int, Record]:
    """One of each layer, from the first documents."""
    found: dict[int, Record] = {}
    document, documents = Gathered(), 0
    for record in _records(file, Meter()):
        if record.draft or not record.ids_TK.size:
            continue
        if document.ends_before(record):
            document, documents = Gathered(), documents + 1
            if documents == LOOKED_AT:
                break
        document.add(record)
        found.setdefault(record.layer, record)
    if not found:
        raise ValueError(f"{file.name} has no record of a token in a layer of the decoder")
    return found


def _batches(
    files: Sequence[DumpFile], layers: Sequence[int], top_k: int, meter: Meter
) -> Iterator[RoutingBatch]:
    held: list[RoutingBatch] = []
    doc_id, gathered = 0, 0
    for file in files:
        for document, drafts in _documents(file, meter):
            for batch in _pieces(document, drafts, doc_id, layers, top_k):
                held.append(batch)
                gathered += batch.expert_ids_TLK.size
                if gathered >= BATCH_CHOICES:
                    yield _together(held)
                    held, gathered = [], 0
            doc_id += 1
    if held:
        yield _together(held)


def _together(batches: list[RoutingBatch]) -> RoutingBatch:
    batch = concatenated(batches)
    if not batch.documents:
        return batch
    passes = finding("passes-as-texts", len(batch.documents), batch.documents[0].origin)
    return replace(batch, findings=(passes, *batch.findings))


def _documents(file: DumpFile, meter: Meter) -> Iterator[tuple[Gathered, list[Finding]]]:
    document, drafts = Gathered(), 0
    example = ""
    for record in _records(file, meter):
        if record.draft:
            drafts += len(record.ids_TK)
            example = example or record.where
        elif record.ids_TK.size:
            if document.ends_before(record):
                yield document, []
                document = Gathered()
            document.add(record)
    if document.layers:
        yield document, [finding("draft-tokens", drafts, example)] if drafts else []


def _pieces(
    document: Gathered,
    drafts: Sequence[Finding],
    doc_id: int,
    layers: Sequence[int],
    top_k: int,
) -> Iterator[RoutingBatch]:
    """The last has the document; a layer without a record has no choices."""
    first = next(iter(document.layers.values()))
    places = {layer: place for place, layer in enumerate(layers)}
    for record in document.layers.values():
        if record.layer not in places or record.ids_TK.shape[1] != top_k:
            raise ValueError(
                f"{record.where}: layer {record.layer} and {record.ids_TK.shape[1]} experts a "
                f"token; layers {_shown(layers)} and {top_k} are expected, as in the first steps"
            )
    tokens = len(first.ids_TK)
    at_once = max(1, BATCH_CHOICES // (len(layers) * top_k))
    text = Document(doc_id=doc_id, text="", origin=first.where)
    for start in range(0, tokens, at_once):
        stop = min(start + at_once, tokens)
        ids_TLK = np.full((stop - start, len(layers), top_k), NO_EXPERT, np.int16)
        for layer, record in document.layers.items():
            ids_TLK[:, places[layer]] = record.ids_TK[start:stop]
        yield RoutingBatch.of(
            doc_id_T=np.full(stop - start, doc_id),
            position_T=np.arange(start, stop),
            expert_ids_TLK=ids_TLK,
            documents=(text,) if stop == tokens else (),
            findings=tuple(drafts) if stop == tokens else (),
        )


def _records(file: DumpFile, meter: Meter) -> Iterator[Record]:
    for number, line in numbered_lines(file, meter, longest=LONGEST):
        where = f"{file.name}:{number}"
        if line.strip():
            yield _record(line, where)


def _record(line: bytes, where: str) -> Record:
    try:
        values = parsed_json(line.decode(), where)
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not UTF-8 at byte {error.start}; copy it again") from error
    if not isinstance(values, dict):
        raise ValueError(f"{where}: {type(values).__name__} where an object is expected")
    tokens, top_k = _integer(values, "num_tokens", where), _integer(values, "topk", where)
    return Record(
        where=where,
        step=_integer(values, "step", where),
        rank=_integer(values, "rank", where),
        layer=_integer(values, "layer", where),
        draft=values.get("mtp_idx") is not None or values.get("block") == "mtp",
        ids_TK=_choices(values.get("top_indices"), tokens, top_k, where),
        experts=_stated_experts(values.get("logit_shape")),
    )


def _integer(values: dict[str, object], key: str, where: str) -> int:
    found = values.get(key)
    if type(found) is not int or not 0 <= found <= MOST_NUMBER:
        shown = f"{found!r:.40}" if type(found) in (int, float, bool) else type(found).__name__
        raise ValueError(f"{where}: {key} is {shown}; a whole number from 0 is expected")
    return found


def _choices(rows: object, tokens: int, top_k: int, where: str) -> np.ndarray:
    if not isinstance(rows, list) or not set(map(type, rows)) <= {list}:
        raise ValueError(
            f"{where}: top_indices is no list of lists; one for each token is expected"
        )
    if len(rows) != tokens or not set(map(len, rows)) <= {top_k}:
        lengths = sorted(set(map(len, rows)))[:9]
        raise ValueError(
            f"{where}: top_indices has {len(rows)} rows of {lengths} experts; num_tokens is "
            f"{tokens}, topk is {top_k}"
        )
    if not 1 <= top_k <= MOST_EXPERTS:
        raise ValueError(f"{where}: topk is {top_k}; 1 to {MOST_EXPERTS:,} are expected")
    flat = list(chain.from_iterable(rows))
    if not set(map(type, flat)) <= {int}:
        raise ValueError(f"{where}: top_indices holds something else than whole numbers")
    try:
        ids_TK = np.array(flat, np.int64).reshape(tokens, top_k)
    except OverflowError as error:
        raise ValueError(f"{where}: top_indices holds a number of more than 64 bits") from error
    return np.clip(ids_TK, *INT16).astype(np.int16)


def _stated_experts(shape: object) -> int | None:
    """By the shape of the logits: tokens and experts."""
    if isinstance(shape, list) and len(shape) == 2 and type(shape[1]) is int:
        return shape[1] if 1 <= shape[1] <= MOST_EXPERTS else None
    return None
