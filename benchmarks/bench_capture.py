"""What a capture costs: over the bare forward, over a bare insert, and in memory.

    python benchmarks/bench_capture.py                       # the shipped model, on the CPU
    python benchmarks/bench_capture.py --device cuda         # the same on a GPU, in bfloat16
    python benchmarks/bench_capture.py --device cuda --preset 16b --layers 4

Prints a table; the last line is one JSON object.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import count, islice
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from app.studies.reader import CHECKPOINT, HELDOUT, text_functions
from data.new_trace import TraceDescription
from data.rollups import RoutingTables, token_table
from data.routing import Document, RoutingBatch
from data.store import TraceStore, open_trace
from data.tokenizer import load_tokenizer
from data.trace_check import SCHEMA
from model.capture import (
    WINDOW_BATCHES,
    batches,
    capture_documents,
    encoded_documents,
    pad_sequences,
    token_loss,
    windows,
)
from model.checkpoint import load_model
from model.deepseek_moe import DeepSeekMoE
from model.encoded import Encoded
from model.presets import PRESETS
from model.readable import Encode, ReadableModel
from model.recording import recorded_routing
from model.transformer import Transformer

BARS = {"cpu": 15, "cuda": 10}  # percent over the bare forward
WRITER_BAR = 70  # percent of a bare insert
MEMORY_BAR = 1_500  # MB


def main() -> None:
    arguments = parsed()
    torch.set_float32_matmul_precision("high")
    if arguments.memory_of:
        measure_memory(arguments)
        return
    figures: dict[str, object] = environment(arguments)
    print("  ".join(f"{name}: {value}" for name, value in figures.items()))
    if arguments.preset is None and arguments.device == "cpu":
        figures |= memory(arguments)  # first: a child's peak is at least what its parent held
    model = subject(arguments)
    figures |= overhead(model, arguments)
    if arguments.preset is None:
        figures |= writer(model)
    print(json.dumps(figures))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=BARS, default="cpu")
    parser.add_argument("--model", type=Path, default=CHECKPOINT)
    parser.add_argument("--preset", choices=PRESETS, help="random weights instead of --model")
    parser.add_argument("--layers", type=int, default=4, help="of the preset, first dense ones too")
    parser.add_argument("--tokens", type=int, help="a repetition; by default 64k, on a GPU 1M")
    parser.add_argument("--batch-tokens", type=int, help="by default what a capture takes")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--memory-tokens", type=int, default=1_000_000)
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)  # the child's trace
    arguments = parser.parse_args()
    if arguments.tokens is None:
        arguments.tokens = 65_536 if arguments.device == "cpu" else 1_048_576
    if arguments.batch_tokens is None:
        arguments.batch_tokens = 2_048 if arguments.device == "cpu" else 32_768
    return arguments


def environment(arguments: argparse.Namespace) -> dict[str, object]:
    cuda = arguments.device == "cuda"
    return {
        "hardware": torch.cuda.get_device_name() if cuda else platform.processor() or "CPU",
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "duckdb": duckdb.__version__,
        "model": arguments.preset or "shipped",
        "command": " ".join(["python", *sys.argv]),
    }


def subject(arguments: argparse.Namespace) -> DeepSeekMoE:
    dtype = torch.bfloat16 if arguments.device == "cuda" else torch.float32
    if arguments.preset is None:
        model = load_model(arguments.model, device=arguments.device, dtype=dtype)
        path = arguments.model / "tokenizer.json"
        return DeepSeekMoE(model, *text_functions(load_tokenizer(path), path))
    config = replace(PRESETS[arguments.preset](), num_layers=arguments.layers)
    with torch.device(arguments.device):
        model = Transformer(config).to(dtype)
    model.initialize(seed=0)
    return DeepSeekMoE(
        model.eval(),
        encode=random_encode(config.vocab_size, config.context_length),
        decode=lambda token_ids: "piece" * len(token_ids),
        tokenizer="random",
    )


def random_encode(vocab_size: int, length: int) -> Encode:
    def encode(texts: list[str]) -> list[tuple[list[int], list[str]]]:
        rng = np.random.default_rng(len(texts))
        ids = rng.integers(1, vocab_size, (len(texts), length - 1)).tolist()
        return [(row, ["piece"] * len(row)) for row in ids]

    return encode


def documents() -> Iterator[Document]:
    """The held-out documents again and again, domains mixed, with ids that ascend."""
    rows = pq.read_table(HELDOUT, columns=["text", "domain"]).to_pylist()
    order = np.random.default_rng(0).permutation(len(rows))
    for doc_id in count():
        row = rows[order[doc_id % len(rows)]]
        yield Document(doc_id=doc_id, text=row["text"], domain=row["domain"], origin="heldout")


def documents_of(model: ReadableModel, tokens: int) -> list[Encoded]:
    """As many as hold so many tokens."""
    return next(windows(encoded_documents(model, documents()), tokens=tokens))


# over the bare forward


def overhead(model: DeepSeekMoE, arguments: argparse.Namespace) -> dict[str, object]:
    encoded = documents_of(model, arguments.tokens)
    tokens = sum(len(item.token_ids) for item in encoded)
    groups = grouped(encoded, arguments.batch_tokens, WINDOW_BATCHES[arguments.device])

    def bare() -> None:
        for group in groups:
            model.logits(pad_sequences(model, group)[0])

    def hooks(*, loss: bool = False) -> None:
        with recorded_routing(model) as recording:
            transfers = []
            for group in groups:
                ids_BS, rows_R = pad_sequences(model, group)
                logits_BSV = model.logits(ids_BS)
                loss_R = None
                if loss:
                    following_T = ids_BS.roll(-1, dims=1).flatten()
                    loss_R = token_loss(logits_BSV, following_T)[rows_R - 1]
                del logits_BSV
                transfers.append(recording.transfer(rows_R, loss_R))
            for transfer in transfers:
                transfer.wait()

    def stored() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "t.duckdb"
            with TraceStore.create(path, description(model)) as store:
                capture_documents(
                    model,
                    [item.document for item in encoded],
                    store,
                    batch_tokens=arguments.batch_tokens,
                )

    variants: dict[str, Callable[[], None]] = {
        "bare forward": bare,
        "hooks and copy": hooks,
        "and loss": lambda: hooks(loss=True),
        "and storing (whole capture)": stored,
    }
    seconds = interleaved(variants, arguments.repetitions, model.device)
    bare_seconds = seconds["bare forward"]
    print(f"\n{tokens:,} tokens in {len(groups)} batches, median of {arguments.repetitions}")
    print(f"{'':<30}{'tokens/s':>12}{'over bare':>12}{'lowest, highest':>20}{'CPU time':>12}")
    percent, cpu_percent = {}, {}
    for name, each in seconds.items():
        over = 100 * (np.array(each) / np.array(bare_seconds) - 1)  # wall, CPU of each repetition
        percent[name], cpu_percent[name] = np.median(over, axis=0).tolist()
        spread = f"{over[:, 0].min():.1f} to {over[:, 0].max():.1f}"
        rate = tokens / median(wall for wall, _ in each)
        print(
            f"{name:<30}{rate:>12,.0f}{percent[name]:>11.1f}%{spread:>20}{cpu_percent[name]:>11.1f}%"
        )
    return {
        "bare_tokens_per_second": round(tokens / median(wall for wall, _ in bare_seconds)),
        "hooks_percent": round(percent["hooks and copy"], 1),
        "loss_percent": round(percent["and loss"], 1),
        "capture_percent": round(percent["and storing (whole capture)"], 1),
        "capture_cpu_percent": round(cpu_percent["and storing (whole capture)"], 1),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],  # above the cores: others were measured too
        "capture_bar_percent": BARS[arguments.device],
    }


def grouped(encoded: list[Encoded], batch_tokens: int, window_batches: int) -> list[list[Encoded]]:
    """The batches that a capture makes, window by window."""
    return [
        [window[index] for index in batch]
        for window in windows(encoded, tokens=window_batches * batch_tokens)
        for batch in batches(window, tokens=batch_tokens)
    ]


@torch.inference_mode()
def interleaved(
    variants: dict[str, Callable[[], None]], repetitions: int, device: torch.device | None = None
) -> dict[str, list[tuple[float, float]]]:
    """(wall, CPU) seconds of every variant, in turns, after one round to warm up."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for repetition in range(repetitions + 1):
        for name, variant in variants.items():
            started, started_cpu = time.perf_counter(), time.process_time()
            variant()
            if device is not None and device.type == "cuda":
                torch.cuda.synchronize()
            if repetition:
                wall, cpu = time.perf_counter() - started, time.process_time() - started_cpu
                seconds[name].append((wall, cpu))
    return seconds


def description(model: DeepSeekMoE) -> TraceDescription:
    return TraceDescription(
        name="bench",
        source="routescope",
        model_name="bench",
        model_sha256="",
        tokenizer="bench",
        layers=model.description().layers,
        seed=None,
        config={"model": asdict(model.transformer.config)},
    )


# over a bare insert


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


# memory


def memory(arguments: argparse.Namespace) -> dict[str, object]:
    """Peak of a process that captures, by itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.duckdb"
        command = [sys.executable, __file__, "--model", str(arguments.model)]
        command += ["--memory-tokens", str(arguments.memory_tokens), "--memory-of", str(path)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        figures = json.loads(output)
        with open_trace(path) as trace:
            stored = trace.execute("SELECT count(*) FROM token").fetchall()[0][0]
        assert stored == figures["memory_tokens"]
        size = path.stat().st_size / 2**20
    print(
        f"\n{stored:,} tokens captured: peak {figures['memory_peak_mb']:,} MB "
        f"({figures['memory_before_mb']:,} MB with the model loaded), "
        f"{figures['memory_tokens_per_second']:,} tokens/s, trace of {size:,.0f} MB"
    )
    return figures | {"memory_bar_mb": MEMORY_BAR, "trace_mb": round(size)}


def measure_memory(arguments: argparse.Namespace) -> None:
    model = subject(arguments)
    before = peak_mb()
    started = time.perf_counter()
    with TraceStore.create(arguments.memory_of, description(model)) as store:
        texts = until(arguments.memory_tokens, model)
        captured = capture_documents(model, texts, store)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "memory_tokens": captured.tokens,
                "memory_before_mb": before,
                "memory_peak_mb": peak_mb(),
                "memory_tokens_per_second": round(captured.tokens / seconds),
            }
        )
    )


def until(tokens: int, model: ReadableModel) -> Iterator[Document]:
    """Documents until they hold so many tokens, one at a time."""
    texts = documents()
    while tokens > 0:
        for item in encoded_documents(model, islice(texts, 16)):
            tokens -= len(item.token_ids)
            yield item.document


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
