"""The most memory that a capture holds, in a process by itself."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks.capture.subject import description, documents, subject
from data.routing import Document
from data.store import TraceStore, open_trace
from model.capture import (
    capture_documents,
    encoded_documents,
)
from model.readable import ReadableModel

MEMORY_BAR = 1_500  # MB


def memory(arguments: argparse.Namespace) -> dict[str, object]:
    """Peak of a process that captures, by itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.duckdb"
        command = [sys.executable, sys.argv[0], "--model", str(arguments.model)]
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
