"""Exports of traces to folders of Parquet, and the traces that are made of these again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.counts import CountsBatch
from data.exports.tables import TABLES, sha256, write_tables
from data.importers.parquet_export import source
from data.importers.parquet_folder import Export
from data.importers.source import Meter, Options, dump_files
from data.new_trace import TraceDescription
from data.routing import FATAL, NO_EXPERT, Document, Finding, RoutingBatch
from data.store import TraceStore, open_trace
from tests.data.stored import rows
from tests.routing_batches import batch_of, description


def exported(trace: Path) -> Path:
    folder = trace.with_suffix("")
    folder.mkdir()
    with open_trace(trace) as con:
        write_tables(con, folder, parquet=True)
    return folder


def imported(folder: Path) -> Path:
    """A trace of what the importer gives, nothing added."""
    files = dump_files([folder])
    opened = source(files, Options())
    last: list[RoutingBatch | CountsBatch] = []
    path = folder.with_name("back.duckdb")
    with TraceStore.create(path, Export.of(files).description) as store:
        for batch in opened.batches(Meter()):
            for before in last:
                store.write(before)
            last = [batch]
        for batch in last:
            store.write(replace(batch, findings=(*batch.findings, *opened.findings)))
    return path


def all_rows(trace: Path) -> dict[str, str]:
    """Of each table, in one order. As text: NaN equals NaN."""
    selected = dict.fromkeys(TABLES, "*") | {"trace": "* EXCLUDE (trace_id, created_at, name)"}
    return {
        table: str(rows(trace, f"SELECT {names} FROM {table} ORDER BY ALL"))
        for table, names in selected.items()
    }


def write(path: Path, *batches: RoutingBatch | CountsBatch, of: TraceDescription) -> Path:
    with TraceStore.create(path, of) as store:
        for batch in batches:
            store.write(batch)
    return path


def full_batch() -> RoutingBatch:
    """Two texts with all that a trace can hold: text 5 of three tokens comes before text 2 of one.
    Of the first token a choice was dropped in layer 0, and of the second two in layer 1."""
    batch = batch_of([5, 5, 5, 2], [[[3, NO_EXPERT], [0, 1]], [[0, 1], [NO_EXPERT] * 2]] * 2)
    dropped_TLK = np.full((4, 2, 2), NO_EXPERT, np.int16)
    dropped_TLK[0, 0, 0] = 2
    dropped_TLK[1, 1] = [6, 7]
    return replace(
        batch,
        token_id_T=np.array([1, 2**32 - 1, 9, 9], np.uint32),
        token_text_T=["<s>", None, "é", ""],
        special_T=["<s>", None, None, None],
        loss_T=np.array([np.nan, 0.5, 2, np.nan], np.float32),
        phase_T=np.array([0, 0, 1, 0], np.uint8),
        dropped_ids_TLK=dropped_TLK,
        documents=(
            Document(doc_id=5, text="né", domain="math", group="a", origin="x:1"),
            Document(doc_id=2, text="n\nm", origin="x:2", truncated_tokens=7),
        ),
        findings=(finding(3), replace(finding(1), kind="zero-rows", unit="rows", done="nothing")),
    )


def finding(occurrences: int, kind: str = "missing-rows") -> Finding:
    return Finding(
        kind=kind,
        severity=FATAL,
        occurrences=occurrences,
        first_example="x:1, token 2",
        effect="none",
    )


def full_trace(path: Path) -> Path:
    return write(path, full_batch(), of=description(top_k=None))


def counted_trace(path: Path, *, weighted: bool = False) -> Path:
    """Two files: experts 0 to 3 of the only layer were chosen 4, 0, 2, 0 and 0, 0, 1, 1 times."""
    counts_NLE = np.array([[[4, 0, 2, 0]], [[0, 0, 1, 1]]])
    batch = CountsBatch(
        tokens_NLE=counts_NLE,
        weight_sum_NLE=counts_NLE / 4 if weighted else None,
        documents=tuple(Document(doc_id=n, text="", origin=f"f{n}") for n in range(2)),
        findings=(finding(1, "counts-only"),),
    )
    of = replace(description(layers=1, experts=4), counts_only=True)
    return write(path, batch, of=of)


def forged(folder: Path, name: str, content: bytes) -> Path:
    """Another file, and its checksum in the manifest."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"rows": 1, "sha256": sha256(folder / name)}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    return folder
