"""Tokens of SGLang's recorder (mode per_token). A document is one sequence of a prefill, or one
token of a decoding pass, for records name no request.

T = tokens, L = layers, K = most experts any token chose.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data.importers.checks.findings import finding
from data.importers.sglang_dump import DECODE_MODE, DRAFT_MODES, MIXED_MODE, Detail, Record, Tokens
from data.importers.source import BATCH_CHOICES, Meter
from data.routing import DECODE, INT16, PREFILL, Document, RoutingBatch

LOOKED_AT = 4  # passes in which the number of chosen experts is looked for

Passes = Sequence[Sequence[Record]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Tokens of one pass, whole documents where possible."""

    ids_LTK: np.ndarray
    doc_id_T: np.ndarray
    position_T: np.ndarray
    token_id_T: np.ndarray
    phase_T: np.ndarray
    documents: list[Document]


def used_choices(passes: Passes) -> int:
    """The recorder leaves room for 8 choices; those beyond the model's are -1 everywhere."""
    most, looked = 0, 0
    for record in (record for records in passes for record in records):
        tokens = _tokens(record)
        if tokens.mode in DRAFT_MODES or not len(_lengths(tokens)):
            continue
        used_K = (tokens.ids.read() >= 0).any((0, 1))
        most = max(most, *(np.flatnonzero(used_K) + 1).tolist(), 0)
        looked += 1
        if most and looked >= LOOKED_AT:
            break
    if not most:
        raise ValueError(
            f"{passes[0][0].file.name} has no choice of any token; record while requests run"
        )
    return most


def token_batches(
    dumps: Sequence[Detail], passes: Passes, top_k: int, meter: Meter
) -> Iterator[RoutingBatch]:
    """The ids are physical."""
    layers = _tokens(passes[0][0]).ids.shape[0]
    at_once = max(1, BATCH_CHOICES // (layers * top_k))
    parts: list[_Part] = []
    disagree: list[str] = []
    gathered, doc_id, read = 0, 0, 0
    for records in passes:
        for same in _of_same_tokens(records):
            ids_LTK, differs = _agreed(same, top_k)
            disagree += differs
            advance = sum(record.nbytes for record in same)
            meter.advance(advance)
            read += advance
            for part in _parts(same[0], ids_LTK, doc_id, at_once):
                parts.append(part)
                gathered += len(part.doc_id_T)
                doc_id += len(part.documents)
                if gathered >= at_once:
                    yield _batch(parts, disagree)
                    parts, disagree, gathered = [], [], 0
    if parts:
        yield _batch(parts, disagree)
    meter.advance(max(0, sum(dump.file.size for dump in dumps) - read))


def _tokens(record: Record) -> Tokens:
    assert record.tokens is not None
    return record.tokens


def _lengths(tokens: Tokens) -> np.ndarray:
    """Of the documents in a pass, in order. Rows beyond them are padding."""
    rows = len(tokens.token_id_T)
    if tokens.lengths is None:
        return np.ones(rows if tokens.mode == DECODE_MODE else 0, np.int64)
    return tokens.lengths[tokens.lengths > 0] if rows else np.zeros(0, np.int64)


def _of_same_tokens(records: Sequence[Record]) -> list[list[Record]]:
    """Ranks of a pass that read the same tokens, as with tensor parallelism; with data
    parallelism each has its own. Drafts and passes without a token are left out."""
    groups: list[list[Record]] = []
    for record in records:
        tokens = _tokens(record)
        if tokens.mode in DRAFT_MODES or not len(_lengths(tokens)):
            continue
        for group in groups:
            first = _tokens(group[0])
            if np.array_equal(first.token_id_T, tokens.token_id_T) and np.array_equal(
                first.position_T, tokens.position_T
            ):
                group.append(record)
                break
        else:
            groups.append([record])
    return groups


def _agreed(records: Sequence[Record], top_k: int) -> tuple[np.ndarray, list[str]]:
    """Choices of the lowest rank, and where another has others."""
    first = records[0]
    all_LTK = _tokens(first).ids.read()
    if top_k > all_LTK.shape[2]:
        raise ValueError(f"{first.where} has room for {all_LTK.shape[2]} choices, not {top_k}")
    if (all_LTK[:, :, top_k:] >= 0).any():
        raise ValueError(
            f"{first.where} has tokens of more than {top_k} choices; give --top-k with their number"
        )
    others = [
        record for record in records[1:] if not np.array_equal(all_LTK, _tokens(record).ids.read())
    ]
    differs = [f"{first.where}, ranks {first.rank} and {other.rank}" for other in others[:1]]
    return np.clip(all_LTK[:, :, :top_k], *INT16).astype(np.int16, copy=False), differs


def _parts(record: Record, ids_LTK: np.ndarray, doc_id: int, at_once: int) -> Iterator[_Part]:
    tokens = _tokens(record)
    lengths = _lengths(tokens)
    ends = np.cumsum(lengths)
    document_T = np.repeat(np.arange(len(lengths)), lengths)
    phase_T = _phases(tokens, lengths)
    unit = "token" if tokens.lengths is None else "sequence"
    before = f"{record.file.name}:pass {record.pass_id}, {unit} "
    for start, stop in _cuts(ends, at_once):
        first, last = np.searchsorted(ends, (start, stop), side="right").tolist()
        yield _Part(
            ids_LTK=ids_LTK[:, start:stop],
            doc_id_T=doc_id + document_T[start:stop],
            position_T=tokens.position_T[start:stop],
            token_id_T=tokens.token_id_T[start:stop],
            phase_T=phase_T[start:stop],
            documents=[
                Document(doc_id=doc_id + place, text="", origin=f"{before}{place + 1}")
                for place in range(first, last)
            ],
        )


def _cuts(ends: np.ndarray, at_once: int) -> Iterator[tuple[int, int]]:
    """Tokens [start, stop): as many whole documents as fit, and a longer one in pieces."""
    start, total = 0, int(ends[-1])
    while start < total:
        whole = int(np.searchsorted(ends, start + at_once, side="right"))
        stop = int(ends[whole - 1]) if whole else 0
        if stop <= start:
            stop = min(start + at_once, total)
        yield start, stop
        start = stop


def _phases(tokens: Tokens, lengths: np.ndarray) -> np.ndarray:
    """In a mixed pass, requests that decode are sequences of one token."""
    if tokens.mode == DECODE_MODE:
        return np.full(int(lengths.sum()), DECODE, np.uint8)
    decodes = (lengths == 1) & (tokens.mode == MIXED_MODE)
    return np.repeat(np.where(decodes, DECODE, PREFILL).astype(np.uint8), lengths)


def _batch(parts: Sequence[_Part], disagree: Sequence[str]) -> RoutingBatch:
    ids_LTK = np.concatenate([part.ids_LTK for part in parts], axis=1)
    return RoutingBatch.of(
        doc_id_T=np.concatenate([part.doc_id_T for part in parts]),
        position_T=np.concatenate([part.position_T for part in parts]),
        token_id_T=np.concatenate([part.token_id_T for part in parts]),
        phase_T=np.concatenate([part.phase_T for part in parts]),
        expert_ids_TLK=np.ascontiguousarray(ids_LTK.transpose(1, 0, 2)),
        documents=tuple(document for part in parts for document in part.documents),
        findings=(finding("ranks-disagree", len(disagree), disagree[0]),) if disagree else (),
    )
