"""Our own Parquet export (`routescope export --as parquet`) as the trace that it was.

Sums are made again from the choices; of a trace that has counts only, they are what is read.
T = tokens, L = MoE layers, K = most experts any token chose, E = routed experts, N = documents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.counts import CountsBatch
from data.importers.parquet_folder import (
    AGAIN,
    MANIFEST,
    Documents,
    Export,
    belongs,
    is_manifest,
)
from data.importers.parquet_rows import RowsOfTokens, Table, starts, token_keys
from data.importers.source import BATCH_CHOICES, DumpFile, Meter, Options, Source
from data.routing import NO_EXPERT, NO_TOKEN, Finding, RoutingBatch

NAME = "parquet"
TITLE = "RouteScope's own Parquet export: every table of a trace"
NON_FINITE = "non-finite"  # the finding without which no batch may hold such weights
Batch = RoutingBatch | CountsBatch


def recognizes(file: DumpFile, head: bytes) -> bool:
    if file.path.name == MANIFEST:
        return is_manifest(head)
    return head.startswith(b"PAR1") and belongs(file.path)


def source(files: Sequence[DumpFile], options: Options) -> Source:
    export = Export.of(files)
    described = export.description
    findings = export.findings()

    def batches(meter: Meter) -> Iterator[Batch]:
        return (
            _counted(export, meter) if described.counts_only else _routed(export, meter, findings)
        )

    return Source(
        format=NAME,
        engine=described.source,
        layers=described.layers,
        batches=batches,
        model_name=described.model_name,
        tokenizer=described.tokenizer,
        config=described.config,
        counts_only=described.counts_only,
        described=described,
        findings=tuple(one for one in findings if one.kind != NON_FINITE),
    )


def _counted(export: Export, meter: Meter) -> Iterator[CountsBatch]:
    """One batch: counts of files or passes are few."""
    documents = Documents(export, meter).rest()
    table = export.table("document_load")
    rows = table.whole(meter)
    ids_N = np.array([document.doc_id for document in documents], np.int64)
    order_N = np.argsort(ids_N)
    doc_id_R = np.asarray(rows["doc_id"])
    shape = (len(ids_N), len(export.layers), max(layer.num_experts for layer in export.layers))
    place_R = np.minimum(np.searchsorted(ids_N, doc_id_R, sorter=order_N), max(len(ids_N) - 1, 0))
    at = (order_N[place_R], np.asarray(rows["layer_id"]), np.asarray(rows["expert_id"]))
    if (ids_N[at[0]] != doc_id_R).any() or any(
        (index >= size).any() for index, size in zip(at, shape, strict=True)
    ):
        raise ValueError(f"{table.name} counts documents, layers or experts that are none; {AGAIN}")
    tokens_NLE, weights_NLE = np.zeros(shape, np.int64), np.zeros(shape)
    np.add.at(tokens_NLE, at, np.asarray(rows["tokens"]))
    np.add.at(weights_NLE, at, np.asarray(rows["weight_sum"]))
    known = not np.isnan(weights_NLE).any()
    yield CountsBatch(
        tokens_NLE=tokens_NLE,
        documents=tuple(documents),
        weight_sum_NLE=weights_NLE if known else None,
    )


def _routed(export: Export, meter: Meter, findings: Sequence[Finding]) -> Iterator[RoutingBatch]:
    reader = Reader(export, meter)
    named = [finding for finding in findings if finding.kind == NON_FINITE]
    before: RoutingBatch | None = None
    for batch in reader.batches():
        if before is not None:
            yield before
        before = batch
        if named and not np.isfinite(batch.weights_TLK).all():
            named, some = _part_of(named)
            before = replace(batch, findings=some)
    if before is not None:
        documents = (*before.documents, *reader.documents.rest())
        yield replace(before, documents=documents, findings=(*before.findings, *named))


def _part_of(findings: list[Finding]) -> tuple[list[Finding], tuple[Finding, ...]]:
    """One occurrence goes with a batch that needs the finding; what is left, with the last."""
    first = findings[0]
    left = findings[1:]
    if first.occurrences > 1:
        left = [replace(first, occurrences=first.occurrences - 1), *left]
    return left, (replace(first, occurrences=1),)


class Reader:
    """Tokens with what belongs to them: whole documents, unless one is longer than a batch."""

    def __init__(self, export: Export, meter: Meter) -> None:
        self.export, self.meter = export, meter
        self.documents = Documents(export, meter)
        self.tokens = export.table("token")
        self.layers = len(export.layers)
        self.top_k = self._most_experts()
        self.routing = RowsOfTokens(export.table("routing"), meter)
        self.gate = self._unless_empty("gate")
        self.dropped = self._unless_empty("dropped")
        self.most_dropped = self._most_dropped()

    def batches(self) -> Iterator[RoutingBatch]:
        for tokens, completes in self._pieces():
            yield self._batch(tokens, completes)
        for rows in (self.routing, self.gate, self.dropped):
            if rows is not None:
                rows.require_end()

    def _unless_empty(self, name: str) -> RowsOfTokens | None:
        table = self.export.table(name)
        return RowsOfTokens(table, self.meter) if table.rows else None

    def _most_experts(self) -> int:
        known = [layer.top_k for layer in self.export.layers]
        if None not in known:
            return max(top_k for top_k in known if top_k is not None)
        table = self.export.table("document_k")
        most = 1
        for batch in table.batches(self.meter, ["k"]):
            most = max(most, pc.max(batch.column("k")).as_py() or 0)
        self._require_possible(table, most)
        return most

    def _most_dropped(self) -> int:
        """Of a token in a layer: all batches have the same number of places."""
        if self.dropped is None:
            return 0
        table, most = self.dropped.table, 1
        held_CR = np.empty((2, 0), np.uint64)  # keys and layers of the last decision
        for batch in table.batches(Meter(), ["doc_id", "position", "layer_id"]):
            rows_CR = np.stack([token_keys(batch), np.asarray(batch["layer_id"], np.uint64)])
            rows_CR = np.concatenate([held_CR, rows_CR], 1)
            changes = (rows_CR[:, 1:] != rows_CR[:, :-1]).any(0)
            first = np.concatenate([[0], np.flatnonzero(changes) + 1])
            most = max(most, int(np.diff(first, append=rows_CR.shape[1]).max()))
            self._require_possible(table, most)
            held_CR = rows_CR[:, first[-1] :]
        return most

    def _require_possible(self, table: Table, experts: int) -> None:
        if experts > max(layer.num_experts for layer in self.export.layers):
            raise ValueError(
                f"{table.name} has {experts} experts of one token, more than there are; {AGAIN}"
            )

    def _pieces(self) -> Iterator[tuple[pa.Table, bool]]:
        """Tokens, and whether the last document is whole with them."""
        wanted = max(2, BATCH_CHOICES // (self.layers * self.top_k))
        held: list[pa.RecordBatch] = []
        rows = 0
        for batch in self.tokens.batches(self.meter):
            held.append(batch)
            rows += len(batch)
            while rows >= wanted:
                table = pa.Table.from_batches(held)
                end, whole = piece_end(np.asarray(table["doc_id"]), wanted)
                if not end:
                    break
                yield table.slice(0, end), whole
                held = table.slice(end).to_batches()
                rows -= end
        if rows:
            yield pa.Table.from_batches(held), True

    def _batch(self, tokens: pa.Table, last_is_whole: bool) -> RoutingBatch:
        columns = {name: np.asarray(tokens[name]) for name in ("doc_id", "position", "phase")}
        key_T = token_keys(columns)
        if len(np.unique(key_T)) < len(key_T):
            raise ValueError(f"{self.tokens.name} has two tokens at one position; {AGAIN}")
        ids_TLK, weights_TLK = self._choices(key_T)
        entropy_TL, margin_TL = self._gates(key_T)
        ids = [int(columns["doc_id"][start]) for start in starts(columns["doc_id"])]
        special = tokens["special"]
        return RoutingBatch(
            doc_id_T=columns["doc_id"],
            position_T=columns["position"],
            token_id_T=np.asarray(pc.fill_null(tokens["token_id"], NO_TOKEN)),
            phase_T=columns["phase"],
            loss_T=np.asarray(pc.fill_null(tokens["loss"], float("nan"))),
            token_text_T=tokens["text"].to_pylist(),
            expert_ids_TLK=ids_TLK,
            weights_TLK=weights_TLK,
            entropy_TL=entropy_TL,
            margin_TL=margin_TL,
            dropped_ids_TLK=self._dropped(key_T),
            documents=tuple(map(self.documents.take, ids if last_is_whole else ids[:-1])),
            special_T=None if special.null_count == len(special) else special.to_pylist(),
        )

    def _choices(self, key_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = (len(key_T), self.layers, self.top_k)
        ids_TLK = np.full(shape, NO_EXPERT, np.int16)
        rows = self.routing.of(key_T)
        if not rows:
            return ids_TLK, np.zeros(shape, np.float32)
        self._require_layers(self.routing.table, rows)
        if rows["rank"].max() >= self.top_k:
            raise ValueError(
                f"{self.routing.table.name}: rank {rows['rank'].max()} where {self.top_k} experts "
                f"are chosen; {AGAIN}"
            )
        at = rows["token"], rows["layer_id"], rows["rank"]
        ids_TLK[at] = rows["expert_id"]
        ids_only = np.isnan(rows["weight"]).all()
        weights_TLK = np.full(shape, np.nan if ids_only else 0, np.float32)
        weights_TLK[at] = rows["weight"]
        if np.count_nonzero(ids_TLK != NO_EXPERT) < len(rows["token"]):
            raise ValueError(f"{self.routing.table.name} has one rank of a token twice; {AGAIN}")
        return ids_TLK, weights_TLK

    def _gates(self, key_T: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        if self.gate is None:
            return None, None
        values = [np.full((len(key_T), self.layers), np.nan, np.float32) for _ in range(2)]
        if rows := self.gate.of(key_T):
            self._require_layers(self.gate.table, rows)
            for known_TL, name in zip(values, ("entropy", "margin"), strict=True):
                known_TL[rows["token"], rows["layer_id"]] = rows[name]
        return values[0], values[1]

    def _dropped(self, key_T: np.ndarray) -> np.ndarray | None:
        if self.dropped is None:
            return None
        rows = self.dropped.of(key_T)
        ids_TLK = np.full((len(key_T), self.layers, self.most_dropped), NO_EXPERT, np.int16)
        if rows:
            self._require_layers(self.dropped.table, rows)
            decision_R = rows["token"] * self.layers + rows["layer_id"]
            first_R = starts(decision_R)
            place_R = np.arange(len(decision_R)) - np.repeat(
                first_R, np.diff(first_R, append=len(decision_R))
            )
            ids_TLK[rows["token"], rows["layer_id"], place_R] = rows["expert_id"]
        return ids_TLK

    def _require_layers(self, table: Table, rows: dict[str, np.ndarray]) -> None:
        if rows["layer_id"].max() >= self.layers:
            raise ValueError(
                f"{table.name}: layer {rows['layer_id'].max()} of {self.layers}; {AGAIN}"
            )
        most = max(layer.num_experts for layer in self.export.layers)
        if "expert_id" in rows and rows["expert_id"].max() >= most:
            raise ValueError(f"{table.name}: expert {rows['expert_id'].max()} of {most}; {AGAIN}")


def piece_end(doc_id_T: np.ndarray, wanted: int) -> tuple[int, bool]:
    """Tokens of a piece, and whether they end a document: whole documents, of at most so many
    tokens where one is not longer. More tokens follow, so the last document may go on."""
    first_T = starts(doc_id_T)
    whole = first_T[(first_T > 0) & (first_T <= wanted)]
    if len(whole):
        return int(whole[-1]), True
    if len(first_T) > 1:
        return int(first_T[1]), True
    return len(doc_id_T) - 1, False
