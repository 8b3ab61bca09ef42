"""What turns batches into the rows of a trace: whole documents, a transaction at a time."""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import pairwise

import duckdb
import numpy as np
import pyarrow as pa

from data.batch_check import check_tokens
from data.connection import WRITER_THREADS
from data.counts import CountsBatch, counted_k_table, counted_load_table
from data.ranges import document_ranges
from data.rollups import (
    PairCounts,
    decision_table,
    document_dropped_table,
    document_gate_table,
    document_k_table,
    document_load_table,
    document_size_table,
    dropped_table,
    token_table,
)
from data.routing import NO_EXPERT, Document, Finding, RoutingBatch, concatenated, take_rows
from data.strict_json import json_text

SHARES = max(4, WRITER_THREADS)  # of a transaction, one a thread: the larger, the quicker
TOKENS = 16_384 * SHARES  # of a transaction, at least, in whole documents
ROWS = 1_000_000 * SHARES  # choices: with so many it ends before, and so many are inserted at once
COMMIT_SECONDS = 3.0  # at most, between the commits of documents that come in
TABLE_THREADS = min(4, max(1, (os.cpu_count() or 1) // 2))  # make tables while DuckDB inserts


class TraceWriter:
    """Writes to an open trace. What it has not committed, nobody sees."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        num_layers: int,
        num_experts: int,
        config: dict[str, object],
    ) -> None:
        self.connection = connection
        self.config = config
        self.num_layers = num_layers
        self.num_experts = num_experts
        self.documents = 0  # committed
        self.doc_ids: set[int] = set()
        self.pairs = PairCounts.empty(num_layers=num_layers, num_experts=num_experts)
        self.unfinished: list[RoutingBatch] = []  # rows of documents that are not complete
        self.waiting: list[RoutingBatch] = []  # whole documents that are not inserted
        self.waiting_tokens = 0
        self.waiting_rows = 0  # choices
        self.committed_at = time.monotonic()
        self.counting = ThreadPoolExecutor(TABLE_THREADS)

    def write(self, batch: RoutingBatch | CountsBatch) -> None:
        """Hold rows until their document is complete, documents until they fill a transaction."""
        if isinstance(batch, CountsBatch):
            self._write_counts(batch)
            return
        complete_T = np.isin(batch.doc_id_T, [document.doc_id for document in batch.documents])
        if complete_T.all() and not self.unfinished:
            self._add(batch)
        else:
            self.unfinished.append(batch)
            if batch.documents:
                self._add_finished()
        full = self.waiting_tokens >= TOKENS or self.waiting_rows >= ROWS
        if full or self.due_in() == 0:
            self.flush()

    def _write_counts(self, batch: CountsBatch) -> None:
        self._require_new(batch.documents)
        self.connection.begin()
        self._insert("document", document_table(batch.documents))
        for finding in batch.findings:
            self._add_finding(finding)
        self._insert("document_load", counted_load_table(batch))
        rows = self.connection.execute("SELECT top_k FROM layer ORDER BY layer_id").fetchall()
        self._insert("document_k", counted_k_table(batch, [top_k for (top_k,) in rows]))
        self.connection.commit()
        self.documents += len(batch.documents)

    def due_in(self) -> float | None:
        """Seconds until the next commit; None: nothing waits for it."""
        if not self.waiting_tokens:
            return None
        return max(0.0, self.committed_at + COMMIT_SECONDS - time.monotonic())

    def _add_finished(self) -> None:
        held = concatenated(self.unfinished)
        order = np.argsort(held.doc_id_T, kind="stable")
        whole = [document.doc_id for document in held.documents]
        complete_T = np.isin(held.doc_id_T[order], whole)
        self.unfinished = []
        if not complete_T.all():
            self.unfinished = [take_rows(held, order[~complete_T])]
        finished = take_rows(held, order[complete_T])
        check_tokens(finished)  # parts of a document may share a position
        self._add(finished)

    def _add(self, batch: RoutingBatch) -> None:
        self._require_new(batch.documents)
        self.waiting.append(batch)
        self.waiting_tokens += len(batch.doc_id_T)
        self.waiting_rows += batch.expert_ids_TLK.size

    def _require_new(self, documents: Sequence[Document]) -> None:
        for document in documents:
            if document.doc_id in self.doc_ids:
                raise ValueError(f"document {document.doc_id} came twice; each comes once")
            self.doc_ids.add(document.doc_id)

    def flush(self) -> None:
        """Everything about the documents that came since the last, in a transaction."""
        if not self.waiting:
            return
        batch = concatenated(self.waiting)
        self.waiting = []
        self.connection.begin()
        self._insert_documents(batch)
        for finding in batch.findings:
            self._add_finding(finding)
        self._insert_rows(batch)
        self.connection.commit()
        self.committed_at = time.monotonic()
        self.documents += len(batch.documents)
        self.waiting_tokens = self.waiting_rows = 0

    def _insert_rows(self, batch: RoutingBatch) -> None:
        pieces = parts(batch, tokens=max(1, ROWS // max(1, batch.expert_ids_TLK[:1].size)))
        with ThreadPoolExecutor(TABLE_THREADS) as beside:
            for piece, made in zip(pieces, self._made_ahead(pieces, beside), strict=True):
                counted = self._counted(piece.expert_ids_TLK)
                for table in list(made):
                    self._insert(table, made.pop(table).result())
                for part in counted:  # what cannot be counted is not committed
                    part.result()

    def _counted(self, expert_ids_TLK: np.ndarray) -> list[Future[None]]:
        """Pairs, while DuckDB inserts: each thread adds those of layers of its own."""
        threads = min(TABLE_THREADS, self.num_layers)
        bounds = np.linspace(0, self.num_layers, threads + 1, dtype=int).tolist()
        return [
            self.counting.submit(self.pairs.add, expert_ids_TLK, layers=range(first, after))
            for first, after in pairwise(bounds)
        ]

    def _insert_documents(self, batch: RoutingBatch) -> None:
        self._insert("document", document_table(batch.documents))
        cut = [document.truncated_tokens for document in batch.documents]
        if any(cut):
            truncated = self.config["truncated"]
            assert isinstance(truncated, dict)  # written when the file was created
            truncated["documents"] += sum(tokens > 0 for tokens in cut)
            truncated["tokens"] += sum(cut)
            self.connection.execute("UPDATE trace SET config = $1", [json_text(self.config)])

    def _add_finding(self, finding: Finding) -> None:
        """More of a finding that the trace has adds to it, and keeps its first example."""
        row = asdict(finding)
        more = (row.pop("occurrences"), row.pop("first_example"))
        same = " AND ".join(f"{name} = ${name}" for name in row)
        known = self.connection.execute(
            f"UPDATE finding SET occurrences = occurrences + $more WHERE {same}",
            row | {"more": more[0]},
        ).fetchall()
        if known == [(0,)]:
            self.connection.execute(
                f"INSERT INTO finding ({', '.join(row)}, occurrences, first_example) "
                f"VALUES ({', '.join(f'${name}' for name in row)}, $more, $first)",
                row | dict(zip(("more", "first"), more, strict=True)),
            )

    def _made_ahead(
        self, pieces: list[RoutingBatch], beside: ThreadPoolExecutor
    ) -> Iterator[dict[str, Future[pa.Table]]]:
        """The tables of each piece. NumPy makes those of the next while DuckDB inserts some."""
        before: dict[str, Future[pa.Table]] = {}
        for piece in pieces:
            made = self._made(piece, beside)
            if before:
                yield before
            before = made
        yield before

    def _made(self, batch: RoutingBatch, beside: ThreadPoolExecutor) -> dict[str, Future[pa.Table]]:
        load = partial(document_load_table, num_experts=self.num_experts)
        made = {
            "decision": beside.submit(decision_table, batch),
            "token": beside.submit(token_table, batch),
            "document_load": beside.submit(load, batch),
            "document_k": beside.submit(document_k_table, batch),
            "document_size": beside.submit(document_size_table, batch),
        }
        if batch.entropy_TL is not None or batch.margin_TL is not None:
            made["document_gate"] = beside.submit(document_gate_table, batch)
        if batch.dropped_ids_TLK is not None:
            made["dropped"] = beside.submit(dropped_table, batch)
            made["document_dropped"] = beside.submit(document_dropped_table, batch)
        return made

    def _insert(self, table: str, rows: pa.Table) -> None:
        self.connection.register("rows", rows)
        self.connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows")
        self.connection.unregister("rows")

    def finish(self) -> None:
        """Write the sums over all documents and put everything into the file itself."""
        if self.unfinished:
            begun = sorted({int(doc_id) for held in self.unfinished for doc_id in held.doc_id_T})
            raise ValueError(f"documents {begun[:5]} were begun and never completed")
        self.flush()
        self.connection.begin()
        self.connection.execute("DELETE FROM coactivation")  # of a finish that was cut short
        self.connection.execute("DELETE FROM transition")
        for table in self.pairs.coactivation_tables():
            self._insert("coactivation", table)
        for table in self.pairs.transition_tables():
            self._insert("transition", table)
        self.connection.commit()
        self.connection.execute("CHECKPOINT")

    def abandon(self) -> None:
        """From another thread: what DuckDB does fails, and what is not committed is given up."""
        self.connection.interrupt()

    def close(self) -> None:
        self.counting.shutdown()
        self.connection.close()

    def restore(self) -> set[int]:
        """Go on after the documents of the file: their ids, and the pairs counted again."""
        choices = (
            "SELECT doc_id, sum(tokens * greatest(k, 1)::BIGINT)::BIGINT AS size "
            "FROM document_k SEMI JOIN document_size USING (doc_id) GROUP BY doc_id ORDER BY doc_id"
        )
        for first, last in document_ranges(self.connection, choices, at_once=ROWS):
            self.pairs.add(self._stored_ids(first, last))
        rows = self.connection.execute("SELECT doc_id FROM document").fetchall()
        self.doc_ids = {row[0] for row in rows}
        self.documents = len(self.doc_ids)
        return self.doc_ids.copy()

    def _stored_ids(self, first_doc_id: int, last_doc_id: int) -> np.ndarray:
        """expert_ids_TLK of a range of documents."""
        rows = self.connection.sql(
            "SELECT expert_ids FROM decision WHERE doc_id BETWEEN $1 AND $2 "
            "ORDER BY doc_id, position, layer_id",
            params=[first_doc_id, last_doc_id],
        ).to_arrow_table()
        return stored_choices(rows["expert_ids"].combine_chunks(), self.num_layers)


def stored_choices(expert_ids: pa.ListArray, num_layers: int) -> np.ndarray:
    """expert_ids_TLK of decisions in their order."""
    length = expert_ids.value_lengths().to_numpy()
    place = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    ids = expert_ids.flatten()
    ids_RK = np.full((len(length), int(length.max(initial=0))), NO_EXPERT, np.int16)
    ids_RK[np.repeat(np.arange(len(length)), length), place] = (
        ids.fill_null(NO_EXPERT % 2**16).to_numpy().view(np.int16)
    )
    return ids_RK.reshape(len(ids_RK) // num_layers, num_layers, ids_RK.shape[1])


def document_table(documents: Sequence[Document]) -> pa.Table:
    return pa.table(
        {
            "doc_id": pa.array([document.doc_id for document in documents], pa.uint32()),
            "domain": pa.array([document.domain for document in documents], pa.string()),
            "group": pa.array([document.group for document in documents], pa.string()),
            "text": pa.array([document.text for document in documents], pa.string()),
            "origin": pa.array([document.origin for document in documents], pa.string()),
            "sha256": pa.array(
                [hashlib.sha256(document.text.encode()).hexdigest() for document in documents]
            ),
        }
    )


def parts(batch: RoutingBatch, *, tokens: int) -> list[RoutingBatch]:
    """The batch in pieces of whole documents, of at most so many tokens where that is possible."""
    if len(batch.doc_id_T) <= tokens:
        return [batch]
    ends = np.flatnonzero(np.diff(batch.doc_id_T)) + 1
    bounds = [0]
    for end, following in pairwise([*ends.tolist(), len(batch.doc_id_T)]):
        if following - bounds[-1] > tokens:
            bounds.append(end)
    bounds.append(len(batch.doc_id_T))
    return [take_rows(batch, slice(low, high)) for low, high in pairwise(bounds)]
