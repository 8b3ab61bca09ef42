"""Dumps of other tools into a trace."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.counts import CountsBatch
from data.importers.importing import Dump
from data.routing import CancelledError, Finding, RoutingBatch
from data.store import TraceStore
from data.trace_paths import discard_left_import, discard_partial, require_free


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import read, and where it was written."""

    format: str
    files: int
    documents: int
    tokens: int
    choices: int
    layers: int
    findings: tuple[Finding, ...]


def write(
    dump: Dump,
    out: Path | None,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Imported:
    """`out`: None reads all and writes nothing. Progress is in bytes of the files.

    Nothing is left of an import that ends early. ValueError: what was read cannot be right;
    CancelledError: somebody asked to stop.
    """
    if out is None:
        return _read(dump, lambda batch: None, on_progress, cancelled)
    discard_left_import(out)
    require_free(out)
    store = TraceStore.create(out, dump.description(out.stem))
    try:
        with store:
            return _read(dump, store.write, on_progress, cancelled)
    except BaseException:
        discard_partial(out)
        raise


def _read(
    dump: Dump,
    take: Callable[[RoutingBatch | CountsBatch], None],
    on_progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Imported:
    documents = tokens = choices = 0
    for batch in dump:
        if cancelled():
            raise CancelledError
        take(batch)
        documents += len(batch.documents)
        if isinstance(batch, CountsBatch):
            choices += int(batch.tokens_NLE.sum())
        else:
            tokens += len(batch.doc_id_T)
            choices += int((batch.expert_ids_TLK >= 0).sum())
        on_progress(dump.meter.done, dump.meter.total)
    return Imported(
        format=dump.title,
        files=len(dump.files),
        documents=documents,
        tokens=tokens,
        choices=choices,
        layers=len(dump.layers),
        findings=tuple(dump.findings),
    )
