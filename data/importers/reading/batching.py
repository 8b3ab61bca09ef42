"""Documents, one after another, as batches of a size that is stored well."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from data.importers.source import BATCH_CHOICES
from data.routing import Finding, RoutingBatch, concatenated


def in_batches(documents: Iterable[RoutingBatch]) -> Iterator[RoutingBatch]:
    """Findings of one kind are one finding of a batch."""
    held: list[RoutingBatch] = []
    choices = 0
    for document in documents:
        held.append(document)
        choices += document.expert_ids_TLK.size
        if choices >= BATCH_CHOICES:
            yield _batch(held)
            held, choices = [], 0
    if held:
        yield _batch(held)


def _batch(documents: list[RoutingBatch]) -> RoutingBatch:
    batch = concatenated(documents)
    of_kind: dict[str, Finding] = {}
    for found in batch.findings:
        before = of_kind.get(found.kind)
        more = before.occurrences if before else 0
        of_kind[found.kind] = replace(before or found, occurrences=more + found.occurrences)
    return replace(batch, findings=tuple(of_kind.values()))
