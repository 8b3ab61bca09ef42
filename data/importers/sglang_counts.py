"""Counts of SGLang's recorder: a document is a buffered step (mode stat), or a forward pass over
all ranks (mode per_pass).

N = documents, L = layers, E = logical experts, P = physical experts.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from data.batch_check import MOST_COUNTED
from data.counts import CountsBatch
from data.importers.checks.findings import finding
from data.importers.sglang_dump import Detail, Record, Stat
from data.importers.source import BATCH_CHOICES, Meter, Options, Source, undescribed
from data.routing import Document, Finding
from data.words import counted

ENGINE = "sglang"


def stat_source(name: str, dumps: Sequence[Stat], options: Options) -> Source:
    first = dumps[0]
    for dump in dumps:
        if dump.counts.shape[1:] != first.counts.shape[1:]:
            raise ValueError(
                f"{first.file.name} counts {shown(first.counts.shape[1:])}, {dump.file.name} "
                f"{shown(dump.counts.shape[1:])}: import one model at a time"
            )
    layers, experts = first.counts.shape[1:]
    if options.num_experts not in (None, experts):
        raise ValueError(
            f"{first.file.name} counts {experts} experts, --num-experts says {options.num_experts}"
        )
    rates = {dump.file.name: dump.utilization for dump in dumps if dump.utilization is not None}
    return Source(
        format=name,
        engine=ENGINE,
        layers=undescribed(layers, num_experts=experts, top_k=options.top_k),
        batches=lambda meter: _steps(dumps, meter),
        config={"recorder_mode": "stat", "average_utilization_rate_over_window": rates},
        counts_only=True,
        findings=(finding("counts-only", len(dumps), first.file.name),),
    )


def shown(shape: Sequence[int]) -> str:
    return f"{counted(shape[0], 'layer', 'layers')} of {counted(shape[1], 'expert', 'experts')}"


def _steps(dumps: Sequence[Stat], meter: Meter) -> Iterator[CountsBatch]:
    doc_id = 0
    for dump in dumps:
        steps, layers, experts = dump.counts.shape
        at_once = max(1, BATCH_CHOICES // (layers * experts))
        for start in range(0, steps, at_once):
            tensor = dump.counts.narrow(start, min(start + at_once, steps))
            counts_NLE = tensor.read().astype(np.int64)
            used = np.flatnonzero(counts_NLE.any((1, 2)))
            meter.advance(tensor.nbytes)
            if not len(used):
                continue
            for step in used:
                check(counts_NLE[step], f"{dump.file.name}: step {start + step + 1}")
            documents = [
                document(doc_id + place, f"{dump.file.name}:step {start + step + 1}")
                for place, step in enumerate(used)
            ]
            doc_id += len(used)
            yield CountsBatch(tokens_NLE=counts_NLE[used], documents=tuple(documents))
        meter.advance(dump.file.size - dump.counts.nbytes)
    if not doc_id:
        raise ValueError(f"{dumps[0].file.name} counts no choice; record while requests run")


def document(doc_id: int, origin: str) -> Document:
    return Document(doc_id=doc_id, text="", origin=origin)


def check(counts: np.ndarray, where: str) -> None:
    low, high = counts.min(), counts.max()
    if low < 0 or high >= MOST_COUNTED:
        raise ValueError(
            f"{where} has counts from {low} to {high}; expected are 0 to {MOST_COUNTED - 1:,}"
        )


def pass_batches(
    dumps: Sequence[Detail], passes: Sequence[Sequence[Record]], experts: int, meter: Meter
) -> Iterator[CountsBatch]:
    """Ranks are summed; counts of physical experts become those of logical ones by the map."""
    map_LP = dumps[0].map_LP
    doc_id, read = 0, 0
    layers = _shape(passes[0][0])[0]
    at_once = max(1, BATCH_CHOICES // (layers * experts))
    for start in range(0, len(passes), at_once):
        taken: list[np.ndarray] = []
        documents: list[Document] = []
        for ranks in passes[start : start + at_once]:
            counts_LE = _logical(_summed(ranks), map_LP, experts)
            read += sum(record.nbytes for record in ranks)
            meter.advance(sum(record.nbytes for record in ranks))
            if counts_LE.any():
                first = ranks[0]
                check(counts_LE, first.where)
                documents.append(document(doc_id, f"{first.file.name}:pass {first.pass_id}"))
                taken.append(counts_LE)
                doc_id += 1
        if taken:
            counts_NLE = np.stack(taken)
            mapped = _mapped(counts_NLE, map_LP, documents[0].origin)
            yield CountsBatch(tokens_NLE=counts_NLE, documents=tuple(documents), findings=mapped)
    meter.advance(max(0, sum(dump.file.size for dump in dumps) - read))
    if not doc_id:
        raise ValueError(f"{dumps[0].file.name} counts no choice; record while requests run")


def _shape(record: Record) -> tuple[int, ...]:
    assert record.counts is not None
    return record.counts.shape


def _summed(ranks: Sequence[Record]) -> np.ndarray:
    total_LP = np.zeros(_shape(ranks[0]), np.int64)
    for record in ranks:
        assert record.counts is not None
        counts_LP = record.counts.read().astype(np.int64)
        check(counts_LP, record.where)
        total_LP += counts_LP
    return total_LP


def _logical(counts_LP: np.ndarray, map_LP: np.ndarray | None, experts: int) -> np.ndarray:
    if map_LP is None:
        return counts_LP
    layers = len(counts_LP)
    place_LP = map_LP + experts * np.arange(layers)[:, None]
    summed = np.bincount(place_LP.ravel(), counts_LP.ravel(), layers * experts)  # exact in float64
    return summed.astype(np.int64).reshape(layers, experts)


def _mapped(counts_NLE: np.ndarray, map_LP: np.ndarray | None, where: str) -> tuple[Finding, ...]:
    if map_LP is None or is_identity(map_LP):
        return ()
    return (finding("physical-ids", int(counts_NLE.sum()), where),)


def is_identity(map_LP: np.ndarray) -> bool:
    """Each physical expert is the logical one of its number."""
    return bool((map_LP == np.arange(map_LP.shape[1])).all())
