"""What a trace's writer takes over a bare insert of the same rows."""

import tempfile
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.capture.subject import description
from benchmarks.capture.turns import interleaved
from data.rollups import RoutingTables, token_table
from data.routing import Document, RoutingBatch
from data.store import TraceStore
from data.trace_check import SCHEMA
from model.deepseek_moe import DeepSeekMoE

WRITER_BAR = 70  # percent of a bare insert


def writer(model: DeepSeekMoE, *, tokens: int = 16_384, batches: int = 24) -> dict[str, object]:
    """Batches of ready routing through a TraceStore, and their columns through plain INSERTs."""
    config = model.transformer.config
    routed = [
        random_routing(
            tokens, config.num_moe_layers, config.num_experts, config.top_k, first_doc_id=64 * index
        )
        for index in range(batches)
    ]
    tables = RoutingTables(config.num_moe_layers, config.top_k)
    columns = [
        {"token": token_table(b), "routing": tables.routing(b), "gate": tables.gate(b)}
        for b in routed
    ]
    arrays = [
        {name: {c: t[c].to_numpy() for c in t.column_names} for name, t in each.items()}
        for each in columns
    ]
    rows = sum(len(table) for each in columns for table in each.values())

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
            "bare insert, NumPy": lambda: bare_insert(arrays),
            "bare insert, Arrow": lambda: bare_insert(columns),
        },
        repetitions=3,
    )
    rates = {name: rows / median(wall for wall, _ in each) for name, each in seconds.items()}
    print(f"\n{rows:,} rows of token, routing and gate in {batches} transactions")
    print(f"{'':<30}{'rows/s':>12}{'TraceStore':>12}")
    for name, rate in rates.items():
        print(f"{name:<30}{rate:>12,.0f}{100 * rates['TraceStore'] / rate:>11.0f}%")
    return {
        "writer_rows_per_second": round(rates["TraceStore"]),
        "writer_percent_of_numpy": round(100 * rates["TraceStore"] / rates["bare insert, NumPy"]),
        "writer_percent_of_arrow": round(100 * rates["TraceStore"] / rates["bare insert, Arrow"]),
        "writer_bar_percent": WRITER_BAR,
    }


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


def bare_insert(
    batches: list[dict[str, pa.Table]] | list[dict[str, dict[str, np.ndarray]]],
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(f"{folder}/t.duckdb") as connection,
    ):
        connection.execute(SCHEMA.read_text())
        for batch in batches:
            connection.begin()
            for table, rows in batch.items():
                connection.register("rows", rows)
                connection.execute(f"INSERT INTO {table} SELECT * FROM rows")
                connection.unregister("rows")
            connection.commit()
        connection.execute("CHECKPOINT")
