"""How long the map of all tokens of a trace takes, its memory, and how far its neighbourhoods are
those before it was drawn.

    python benchmarks/bench_maps.py traces/demo.duckdb
    python benchmarks/shapes.py v3 --out /tmp/v3.duckdb
    python benchmarks/bench_maps.py /tmp/v3.duckdb
    python benchmarks/shapes.py v3 --tokens 1000000 --texts 10000 --out /tmp/v3_1m.duckdb
    python benchmarks/bench_maps.py /tmp/v3_1m.duckdb

Trustworthiness (Venna and Kaski 2001) over 15 neighbours of 1,000 tokens among 20,000: of ours and
of a UMAP that is fitted to all 20,000. The last line is one JSON object.
"""

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
from duckdb import DuckDBPyConnection

from analysis import layout, projection, queries, routed_features
from analysis.projection import Points
from app import sidecars
from data.sidecar import read_sidecar, sidecar_path, write_sidecar
from data.store import open_trace

JUDGED, AMONG, NEIGHBORS = 1_000, 20_000, 15
SEED = 0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("trace", type=Path)
    trace = arguments.parse_args().trace
    seconds: dict[str, dict[str, float]] = {}
    with open_trace(trace, rows=False) as con:
        info = queries.trace_info(con)
        with timed(seconds, "compilation"):
            compile_umap()
            compile_reading(con, info)
        with timed(seconds, "landmarks"):
            landmarks = projection.project_tokens(con, info, seed=SEED)
        with timed(seconds, "reading"):
            points = projection.with_all_tokens(con, info, landmarks)
    with timed(seconds, "layout"):
        drawn = layout.umap_map(points)
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / trace.name
        kind = sidecars.TOKENS
        with timed(seconds, "writing"):
            write_sidecar(beside, kind, drawn.frame, drawn.parameters, of=info, rest=drawn.rest)
        with timed(seconds, "page reads"):
            read_sidecar(beside, kind, of=info)
        file_bytes = sidecar_path(beside, kind).stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # before the full fit
    figures = {
        "trace": trace.stem,
        "tokens": len(points.reduced_PS),
        "seconds": seconds,
        "total_s": round(sum(seconds[part]["wall"] for part in MAP), 1),
        "total_cpu_s": round(sum(seconds[part]["cpu"] for part in MAP), 1),
        "peak_gb": round(peak, 2),
        "file_mb": round(file_bytes / 1e6, 2),
        "missed_neighbours": missed(points),
        **trust_of_both(points, drawn),
    }
    report(figures)


MAP = ("landmarks", "reading", "layout", "writing")


@contextmanager
def timed(seconds: dict[str, dict[str, float]], what: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    seconds[what] = {
        "wall": round(time.perf_counter() - wall, 2),
        "cpu": round(time.process_time() - cpu, 2),
    }


def compile_umap() -> None:
    few_MS = np.random.default_rng(SEED).normal(size=(100, 8)).astype(np.float32)
    neighbors = layout._neighbors(few_MS)
    for dimensions in (2, layout.CLUSTER_DIMENSIONS):
        layout._umap(few_MS, neighbors, dimensions=dimensions, min_dist=0.1, seed=SEED)
    layout.Landmarks.of(few_MS, seed=SEED).nearest(few_MS, layout.PLACED_BY)


def compile_reading(con: DuckDBPyConnection, info: queries.TraceInfo) -> None:
    first = queries.documents(con).query("tokens > 0").doc_id.tolist()[:1]
    tokens = queries.tokens_by_domain(con, doc_ids=first)
    components_FS = np.zeros((info.num_layers * info.num_experts, 8), np.float32)
    list(routed_features.reduced_parts(con, tokens, info, components_FS))


def missed(points: Points) -> float:
    """Share of the nearest landmarks of 2,000 other points that are not found."""
    count, rng = len(points.frame), np.random.default_rng(SEED)
    rest_PS = points.reduced_PS[count:]
    if not len(rest_PS):
        return 0.0
    some_PS = rest_PS[rng.permutation(len(rest_PS))[:2_000]]
    landmarks_MS = points.reduced_PS[:count]
    found = layout.Landmarks.of(landmarks_MS, seed=SEED).nearest(some_PS, layout.PLACED_BY)[1]
    search = layout.NearestNeighbors(n_neighbors=layout.PLACED_BY, algorithm="brute")
    exact = search.fit(landmarks_MS).kneighbors(some_PS)[0]
    return round(float((found > exact + 1e-4).mean()), 4)


def trust_of_both(points: Points, drawn: layout.Map) -> dict[str, float]:
    """On the same tokens: half of them landmarks, as far as there are others."""
    columns = ["x", "y"]
    ours_P2 = np.concatenate([drawn.frame[columns], drawn.rest[columns]])
    count, rng = len(points.frame), np.random.default_rng(SEED + 1)
    others = count + rng.permutation(len(ours_P2) - count)[: AMONG - count]
    among = np.concatenate([np.arange(count), others])
    reduced_PS = points.reduced_PS[among]
    neighbors = layout._neighbors(reduced_PS)
    start = time.process_time()
    full_P2 = full_umap(reduced_PS, neighbors)
    cpu = time.process_time() - start
    judged = rng.permutation(len(among))[:JUDGED]
    return {
        "trust": trustworthiness(reduced_PS, ours_P2[among], judged),
        "trust_of_full_fit": trustworthiness(reduced_PS, full_P2, judged),
        "full_fit_cpu_s": round(cpu, 1),
    }


def full_umap(reduced_PS: np.ndarray, neighbors: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """With the epochs that UMAP itself would take."""
    from umap import UMAP

    given = {"n_neighbors": NEIGHBORS, "min_dist": 0.1, "init": "pca", "random_state": SEED}
    return UMAP(**given, n_jobs=1, precomputed_knn=neighbors).fit_transform(reduced_PS)


def trustworthiness(before_PS: np.ndarray, after_P2: np.ndarray, judged: np.ndarray) -> float:
    """1 where the neighbours on the map were neighbours before."""
    count, penalty = len(before_PS), 0
    for point in judged:
        away_P = ((after_P2 - after_P2[point]) ** 2).sum(1)
        away_P[point] = np.inf
        neighbors = np.argpartition(away_P, NEIGHBORS)[:NEIGHBORS]
        before_P = ((before_PS - before_PS[point]) ** 2).sum(1)
        before_P[point] = -1
        rank_P = np.empty(count, int)
        rank_P[before_P.argsort(kind="stable")] = np.arange(count)
        penalty += int(np.maximum(rank_P[neighbors] - NEIGHBORS, 0).sum())
    worst = len(judged) * NEIGHBORS * (2 * count - 3 * NEIGHBORS - 1) / 2
    return round(1 - penalty / worst, 4)


def report(figures: dict[str, object]) -> None:
    names = ("umap-learn", "scikit-learn", "numba", "numpy", "duckdb")
    versions = " ".join(f"{name} {version(name)}" for name in names)
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}\n")
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(f"\n{json.dumps(figures)}")


if __name__ == "__main__":
    main()
