"""A trace of 10^9 choices: made by several processes, opened as shards, merged, and asked.

    python -m benchmarks.bench_scale --folder /tmp/scale
    python -m benchmarks.bench_scale --folder /tmp/scale --choices 1e8 --shape k2

Every process writes the choices of one synthetic capture (benchmarks/shapes.py) again and again, as
other texts: what is measured is the trace, not a model. The traces stay in the folder, for
`python -m benchmarks.bench_pages --trace`. Prints tables; the last line is one JSON object.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import duckdb
import numpy as np

from analysis import arrays, expert_words, queries
from benchmarks import shapes
from data.merge import merge_traces
from data.report import csv_text, trace_table
from data.routing import Document, RoutingBatch
from data.shards import described
from data.store import TraceStore, open_trace
from data.writer import stored_choices

BASE_TOKENS, BASE_TEXTS = 100_000, 200


def main() -> None:
    arguments = parsed()
    folder: Path = arguments.folder
    if arguments.write:
        write_shard(folder, *arguments.write)
        return
    folder.mkdir(parents=True, exist_ok=True)
    shape = replace(shapes.SHAPES[arguments.shape], tokens=BASE_TOKENS, texts=BASE_TEXTS)
    if not (folder / "base.duckdb").exists():
        shapes.make(folder / "base.duckdb", shape)
    copies = round(arguments.choices / (BASE_TOKENS * shape.layers * shape.top_k))
    figures = {"choices": copies * BASE_TOKENS * shape.layers * shape.top_k}
    figures |= write_all(folder, copies, arguments.processes) | merge(folder)
    for name in ("shards", "merged.duckdb"):
        figures[name] = asked(folder / name)
    print(f"\n{json.dumps(environment() | figures)}")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--choices", type=float, default=1e9)
    parser.add_argument("--shape", choices=shapes.SHAPES, default="v3")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=int, nargs=3, help=argparse.SUPPRESS)  # a child's part
    return parser.parse_args()


def environment() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in ("duckdb", "pyarrow", "numpy")},
        "command": " ".join(["python", "-m", "benchmarks.bench_scale", *sys.argv[1:]]),
    }


def write_all(folder: Path, copies: int, processes: int) -> dict[str, object]:
    shards = folder / "shards"
    shards.mkdir(exist_ok=True)
    begun = time.perf_counter()
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.bench_scale", "--folder", str(folder)),
                *("--write", str(place), str(processes), str(copies)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for place in range(processes)
    ]
    peaks = [int(process.communicate()[0]) for process in running]
    seconds = time.perf_counter() - begun
    disk = sum(path.stat().st_size for path in shards.iterdir())
    print(
        f"written by {processes} processes in {seconds:.0f} s, {disk / 1e9:.2f} GB, "
        f"each with at most {max(peaks)} MiB"
    )
    return {"write_s": round(seconds, 1), "write_mib": max(peaks), "shards_gb": disk / 1e9}


def write_shard(folder: Path, place: int, processes: int, copies: int) -> None:
    """Every so manieth copy of the base's texts."""
    base, path = folder / "base.duckdb", folder / "shards" / f"{place}.duckdb"
    with open_trace(base) as con:
        description = described(base, con).description
    batches = base_batches(folder, description.num_layers)
    path.unlink(missing_ok=True)
    with TraceStore.create(path, description) as store:
        for copy in range(place, copies, processes):
            for batch in batches:
                store.write(as_other_texts(batch, copy))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)


def base_batches(folder: Path, layers: int) -> list[RoutingBatch]:
    with open_trace(folder / "base.duckdb") as con:
        texts = queries.documents(con)
        batches = []
        for first in range(0, len(texts), 10):
            some = texts.iloc[first : first + 10]
            ends = [int(some.doc_id.iloc[0]), int(some.doc_id.iloc[-1])]
            where = "WHERE doc_id BETWEEN $1 AND $2 ORDER BY doc_id, position"
            tokens = con.sql(f"FROM token {where}", params=ends).to_arrow_table()
            rows = con.sql(f"FROM decision {where}, layer_id", params=ends).to_arrow_table()
            shape = len(tokens), layers
            weights = rows["weights"].combine_chunks().flatten().to_numpy()
            batches.append(
                RoutingBatch(
                    doc_id_T=tokens["doc_id"].to_numpy(),
                    position_T=tokens["position"].to_numpy(),
                    token_id_T=tokens["token_id"].to_numpy(),
                    phase_T=tokens["phase"].to_numpy(),
                    loss_T=tokens["loss"].to_numpy(),
                    token_text_T=tokens["text"].to_pylist(),
                    expert_ids_TLK=stored_choices(rows["expert_ids"].combine_chunks(), layers),
                    weights_TLK=weights.reshape(*shape, -1),
                    entropy_TL=rows["entropy"].to_numpy().reshape(shape),
                    margin_TL=rows["margin"].to_numpy().reshape(shape),
                    documents=tuple(
                        Document(doc_id=doc_id, text=text, domain=domain)
                        for doc_id, text, domain in zip(
                            some.doc_id.tolist(), some.text, some.domain, strict=True
                        )
                    ),
                )
            )
    return batches


def as_other_texts(batch: RoutingBatch, copy: int) -> RoutingBatch:
    documents = tuple(
        replace(text, doc_id=text.doc_id + copy * BASE_TEXTS, origin=f"copy {copy}")
        for text in batch.documents
    )
    return replace(
        batch, doc_id_T=batch.doc_id_T + np.uint32(copy * BASE_TEXTS), documents=documents
    )


def merge(folder: Path) -> dict[str, object]:
    target = folder / "merged.duckdb"
    target.unlink(missing_ok=True)
    begun = time.perf_counter()
    merge_traces(sorted((folder / "shards").iterdir()), target)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    size = target.stat().st_size / 1e9
    print(f"merged in {seconds:.0f} s, {size:.2f} GB, at most {peak} MiB")
    return {"merge_s": round(seconds, 1), "merge_mib": peak, "merged_gb": size}


def asked(path: Path) -> dict[str, float]:
    """Seconds of questions, each asked for the first time."""
    begun = time.perf_counter()
    con = open_trace(path, rows=False)
    info = queries.trace_info(con)
    seconds = {"open as a page does": round(time.perf_counter() - begun, 2)}
    questions: dict[str, Callable[[], object]] = {
        "counts by text": lambda: arrays.group_array(con, info),
        "a text": lambda: queries.document_routing(con, info.num_documents // 2),
        "load of experts": lambda: queries.expert_tokens(con),
        "pairs of a layer": lambda: queries.coactivation(con, 1),
        "words of an expert": lambda: expert_words.expert_top_tokens(
            con, 1, 1, tokens=arrays.MAX_TOKENS
        ),
        "10^6 rows of choices as CSV": lambda: first_rows(con),
    }
    for name, ask in questions.items():
        begun = time.perf_counter()
        ask()
        seconds[name] = round(time.perf_counter() - begun, 2)
    print(f"\n| {path.name} | s |\n|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} |")
    return seconds


def first_rows(con: duckdb.DuckDBPyConnection, rows: int = 1_000_000) -> int:
    written = 0
    for frame in trace_table(con, "routing"):
        written += len(frame)
        csv_text(frame)
        if written >= rows:
            break
    return written


if __name__ == "__main__":
    main()
