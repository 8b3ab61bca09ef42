"""What a trace's writer takes over a bare insert of the same rows."""

import tempfile
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.capture.subject import description
from benchmarks.capture.turns import interleaved
from data.rollups import decision_table, token_table
from data.routing import Document, RoutingBatch
from data.store import TraceStore
from data.trace_check import SCHEMA
from data.trace_format import LONG
from model.deepseek_moe import DeepSeekMoE


def writer(model: DeepSeekMoE, *, tokens: int = 16_384, batches: int = 24) -> dict[str, object]:
    """Batches of ready routing through a TraceStore, and their columns through plain INSERTs."""
    config = model.transformer.config
    routed = [
        random_routing(
            tokens, config.num_moe_layers, config.num_experts, config.top_k, first_doc_id=64 * index
        )
        for index in range(batches)
    ]
    lists = [{"token": token_table(b), "decision": decision_table(b)} for b in routed]
    rows = [
        {"token": token_table(b), "routing": choice_rows(b), "gate": gate_rows(b)} for b in routed
    ]
    choices = sum(batch.expert_ids_TLK.size for batch in routed)

    def stored() -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            TraceStore.create(Path(folder) / "t.duckdb", description(model)) as store,
        ):
            for batch in routed:
                store.write(batch)

    seconds = interleaved(
        {
            "TraceStore": stored,
            "bare insert of lists": lambda: bare_insert(lists),
            "bare insert of rows, as format 7": lambda: bare_insert(rows),
        },
        repetitions=3,
    )
    rates = {name: choices / median(wall for wall, _ in each) for name, each in seconds.items()}
    cpu = {name: median(each for _, each in times) for name, times in seconds.items()}
    print(f"\n{choices:,} choices in {batches} transactions")
    print(f"{'':<34}{'choices/s':>12}{'CPU s':>10}{'TraceStore':>12}")
    for name, rate in rates.items():
        share = 100 * rates["TraceStore"] / rate
        print(f"{name:<34}{rate:>12,.0f}{cpu[name]:>10.2f}{share:>11.0f}%")
    return {
        "writer_choices_per_second": round(rates["TraceStore"]),
        "writer_cpu_s": {name: round(value, 2) for name, value in cpu.items()},
    }


def choice_rows(batch: RoutingBatch) -> pa.Table:
    """A row a choice, as formats before lists had them."""
    tokens, layers, top_k = batch.expert_ids_TLK.shape
    return pa.table(
        {
            "doc_id": np.repeat(batch.doc_id_T, layers * top_k),
            "position": np.repeat(batch.position_T, layers * top_k),
            "layer_id": np.tile(np.repeat(np.arange(layers, dtype=np.uint16), top_k), tokens),
            "rank": np.tile(np.arange(top_k, dtype=np.uint16), tokens * layers),
            "expert_id": batch.expert_ids_TLK.reshape(-1).view(np.uint16),
            "weight": batch.weights_TLK.reshape(-1),
        }
    )


def gate_rows(batch: RoutingBatch) -> pa.Table:
    lists = decision_table(batch)
    return lists.select(["doc_id", "position", "layer_id", "entropy", "margin"])


def random_routing(
    tokens: int, layers: int, experts: int, top_k: int, *, first_doc_id: int
) -> RoutingBatch:
    """64 documents of equal length."""
    rng = np.random.default_rng(first_doc_id)
    scores_TLE = rng.random((tokens, layers, experts), np.float32)
    ids_TLK = scores_TLE.argpartition(-top_k)[..., -top_k:].astype(np.int16)
    length = tokens // 64
    doc_id_T = first_doc_id + np.arange(tokens, dtype=np.uint32) // length
    return RoutingBatch(
        doc_id_T=doc_id_T.astype(np.uint32),
        position_T=np.arange(tokens, dtype=np.uint32) % length,
        token_id_T=rng.integers(0, 16_384, tokens).astype(np.uint32),
        phase_T=np.zeros(tokens, np.uint8),
        loss_T=rng.random(tokens, np.float32),
        token_text_T=[f" word{row % 997}" for row in range(tokens)],
        expert_ids_TLK=ids_TLK,
        weights_TLK=rng.random(ids_TLK.shape, np.float32) / top_k,
        entropy_TL=rng.random((tokens, layers), np.float32),
        margin_TL=rng.random((tokens, layers), np.float32),
        documents=tuple(
            Document(doc_id=first_doc_id + index, text="text", domain="other")
            for index in range(64)
        ),
    )


def bare_insert(batches: list[dict[str, pa.Table]]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(f"{folder}/t.duckdb") as connection,
    ):
        connection.execute(SCHEMA.read_text())
        for statement in LONG:
            connection.execute(statement)
        for batch in batches:
            connection.begin()
            for table, rows in batch.items():
                connection.register("rows", rows)
                connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows")
                connection.unregister("rows")
            connection.commit()
        connection.execute("CHECKPOINT")
