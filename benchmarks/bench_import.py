"""Importers: speed by format, memory of a large file, and files with mistakes.

    python -m benchmarks.bench_import speed                     # beside storing alone
    python -m benchmarks.bench_import speed --experts 256 --top-k 8 --layers 58
    python -m benchmarks.bench_import memory --gigabytes 5      # peak of a process that imports it
    python -m benchmarks.bench_import mutations --count 100000  # exit code 1 after any traceback

The reference of speed is storing: the same choices, as batches in memory, into a trace.
"""

import argparse
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from app.studies.importing import write
from benchmarks.importing import dumps, mutations
from benchmarks.importing.dumps import BINARY, COUNTS, TEXT, Shape
from data.importers.importing import Dump
from data.importers.source import undescribed
from data.new_trace import TraceDescription
from data.routing import Document, RoutingBatch
from data.store import TraceStore

PACKAGES = ("duckdb", "numpy", "pyarrow", "ijson")
MEGABYTE = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("theme", choices=("speed", "memory", "mutations"))
    parser.add_argument("--choices", type=int, default=6_000_000)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--experts", type=int, default=64)
    parser.add_argument("--top-k", type=int, default=6)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--formats", nargs="*", default=[])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="import-") as work:
        if asked.theme == "speed":
            speed(Path(work), asked)
        elif asked.theme == "memory":
            memory(Path(work), asked)
        elif not mutations.run(asked.count, asked.seed, Path(work)):
            sys.exit(1)


def shape_of(asked: argparse.Namespace) -> Shape:
    tokens = asked.choices // (asked.layers * asked.top_k)
    return Shape(tokens, asked.layers, asked.experts, asked.top_k)


def speed(work: Path, asked: argparse.Namespace) -> None:
    """Formats and the reference take turns."""
    shape = shape_of(asked)
    print(f"{shape}: {shape.choices:,} choices, {asked.repetitions} repetitions, median")
    writers = {
        name: writer
        for name, writer in (BINARY | TEXT | COUNTS).items()
        if not asked.formats or name in asked.formats
    }
    seconds: dict[str, list[float]] = {"stored": []}
    for name, writer in writers.items():
        (work / name).mkdir()
        writer(work / name, shape)
        seconds[name] = []
    for turn in range(asked.repetitions):
        seconds["stored"].append(stored(work / f"stored{turn}.duckdb", shape))
        for name in writers:
            seconds[name].append(imported(work / name, work / f"{name}{turn}.duckdb", shape))
    reference = median(seconds["stored"])
    for name, taken in seconds.items():
        size = sum(file.stat().st_size for file in (work / name).rglob("*") if file.is_file())
        print(
            f"{name:14} {shape.choices / median(taken) / 1e6:6.2f} M choices/s  "
            f"{min(taken):.2f} to {max(taken):.2f} s  x{median(taken) / reference:.2f} of storing  "
            f"{size / MEGABYTE:.0f} MB"
        )


def imported(folder: Path, out: Path, shape: Shape) -> float:
    started = time.perf_counter()
    write(Dump([folder], dumps.options(shape)), out)
    seconds = time.perf_counter() - started
    out.unlink()
    return seconds


def stored(out: Path, shape: Shape) -> float:
    batches = [
        RoutingBatch.of(
            doc_id_T=np.full(len(ids_TLK), number),
            position_T=np.arange(len(ids_TLK)),
            expert_ids_TLK=ids_TLK,
            documents=(Document(doc_id=number, text=""),),
        )
        for number, ids_TLK, _ in shape.texts()
    ]
    description = TraceDescription(
        name="stored",
        source="made",
        model_name="made",
        model_sha256="",
        tokenizer="none",
        layers=undescribed(shape.layers, num_experts=shape.experts, top_k=shape.top_k),
        seed=None,
        config={},
    )
    started = time.perf_counter()
    with TraceStore.create(out, description) as store:
        for batch in batches:
            store.write(batch)
    seconds = time.perf_counter() - started
    out.unlink()
    return seconds


def memory(work: Path, asked: argparse.Namespace) -> None:
    """Each format in a process of its own, which prints its peak. Another one writes the dump: what
    a process has held counts for those that it starts."""
    spawn = multiprocessing.get_context("spawn")
    for name in asked.formats or ("gptoss", "sglang", "mbolt"):
        folder = work / name
        tokens = spawn.Value("q", 0)
        writer = spawn.Process(target=written, args=(name, folder, asked, tokens))
        writer.start()
        writer.join()
        shape = Shape(tokens.value, asked.layers, asked.experts, asked.top_k)
        peak(folder, work / f"{name}.duckdb", shape)


def written(name: str, folder: Path, asked: argparse.Namespace, tokens: Any) -> None:
    """A dump of so many gigabytes; `tokens`: how many it has, known from a small one."""
    writer = (BINARY | TEXT | COUNTS)[name]
    folder.mkdir()
    small = Shape(4_096, asked.layers, asked.experts, asked.top_k)
    writer(folder, small)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    for file in folder.rglob("*"):
        file.unlink()
    tokens.value = int(small.tokens * asked.gigabytes * 1e9 / size)
    shape = Shape(tokens.value, asked.layers, asked.experts, asked.top_k)
    if name == "gptoss":
        grown(folder / "answers.json", shape)
    else:
        writer(folder, shape)


def grown(path: Path, shape: Shape) -> None:
    """One file of many answers, written one by one."""
    with tempfile.TemporaryDirectory() as place, path.open("w") as file:
        dumps.gptoss(
            Path(place), Shape(dumps.TEXT_TOKENS, *(shape.layers, shape.experts, shape.top_k))
        )
        [answer] = [one.read_text() for one in Path(place).iterdir()]
        for number in range(shape.tokens // dumps.TEXT_TOKENS):
            file.write("[\n" if number == 0 else ",\n")
            file.write(answer)
        file.write("\n]\n")


def peak(folder: Path, out: Path, shape: Shape) -> None:
    command = [sys.executable, "-m", "routescope", "import", str(folder), "--out", str(out)]
    command += ["--num-experts", str(shape.experts), "--top-k", str(shape.top_k)]
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    print(
        f"{folder.name}: {size / 1e9:.2f} GB, {shape.choices:,} choices in {seconds:.0f} s, peak "
        f"{used.ru_maxrss / 1024:,.0f} MiB, exit code {os.waitstatus_to_exitcode(status)}"
    )
    print(said.strip().splitlines()[-1])
    out.unlink(missing_ok=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
