"""How often our statistics are wrong, on traces whose truth is known; and how fast they are.

    python -m benchmarks.bench_statistics --trace traces/demo.duckdb
    python -m benchmarks.bench_statistics --traces 20     # a first look

A trace here is one layer of 64 experts, 6 chosen, with 50 documents of about 256 tokens in each of
six domains, unless a row says otherwise (benchmarks/known_truth.py); `--trace` names one whose
groups are recentred, so that every lift is 1. Prints tables; the last line is one JSON object.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from analysis import load
from analysis.bootstrap import resampled_loads
from analysis.influence import log_lift
from analysis.significance import lift_table
from benchmarks.known_truth import (
    DOMAINS,
    EXPERTS,
    NULLS,
    PERFECT,
    PLANTED,
    UNEVEN,
    Truth,
    recentred,
)
from benchmarks.statistics_trials import (
    causal_trace,
    metric_trace,
    null_trace,
    perfect_trace,
    planted_trace,
    recentred_trace,
)
from benchmarks.token_truth import token_driven_trace

FALSE_BAR, COVERAGE_BAR, POWER_BAR = 6.5, (92, 97), 0.9
METRIC_TRACES = 2  # times as many: a trace gives one interval of each figure


def averaged(
    one: Callable[[int], dict[str, float]], traces: int, pool: ProcessPoolExecutor
) -> dict[str, float]:
    """Means over the traces that have a figure."""
    rows = pd.DataFrame(list(pool.map(one, range(traces), chunksize=5)))
    return {str(name): float(value) for name, value in rows.mean().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=400, help="of every setting")
    parser.add_argument("--trace", type=Path, help="whose groups are recentred (.duckdb, .npz)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)  # the child
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    if arguments.memory:
        print(json.dumps(speed()))
        return
    child = [sys.executable, "-m", "benchmarks.bench_statistics", "--memory"]
    figures: dict[str, object] = json.loads(
        subprocess.run(child, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )
    print(
        f"{platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"{os.cpu_count()} cores\n{figures}"
    )
    with ProcessPoolExecutor(arguments.processes) as pool:
        figures["nulls"] = settings(
            f"No domain effect, percent (bar {FALSE_BAR} for any; coverage {COVERAGE_BAR})",
            {name: partial(null_trace, truth) for name, truth in NULLS.items()},
            arguments.traces,
            pool,
        )
        if arguments.trace:
            arrays = group_arrays(arguments.trace)
            figures["recentred"] = settings(
                "Groups of a real trace, every lift 1, percent; number of specialists times 100",
                {"recentred": partial(recentred_trace, *arrays)},
                arguments.traces,
                pool,
            )
        figures["planted"] = settings(
            "Planted specialists, percent; detectable: log2 lift times 100",
            {name: partial(planted_trace, *of) for name, of in PLANTED.items()},
            arguments.traces,
            pool,
        )
        figures["perfect"] = settings(
            "Perfect specialists, percent; false: number times 100",
            {name: partial(perfect_trace, truth) for name, truth in PERFECT.items()},
            arguments.traces,
            pool,
        )
        figures["causes"] = settings(
            f"Every choice of every expert is worth the same, percent confirmed (bar {FALSE_BAR})",
            {f"lift {lift}": partial(causal_trace, lift) for lift in (1.5, 2.0)},
            arguments.traces,
            pool,
        )
        figures["metrics"] = settings(
            f"Coverage of a layer's figures, percent (bar {COVERAGE_BAR}; nan: refused)",
            {name: partial(metric_trace, truth) for name, truth in layer_settings().items()},
            METRIC_TRACES * arguments.traces,
            pool,
        )
        figures["token"] = settings(
            "Token identity alone drives routing, nats a choice times 100; p: percent below 0.05",
            {"token": token_driven_trace},
            max(10, arguments.traces // 2),
            pool,
        )
    print(json.dumps(figures))


def layer_settings() -> dict[str, Truth]:
    names = ["heavy-tailed load", "autocorrelation, heavy tail, lengths differ"]
    names += [name for name in NULLS if "unequal spread" in name]
    planted = [name for name in PLANTED if name.startswith(("lift 2.0, ", "lift 4.0, auto"))]
    return (
        {name: NULLS[name] for name in names}
        | UNEVEN
        | {name: PLANTED[name][1] for name in planted if "256" not in name}
    )


def settings(
    title: str,
    cases: dict[str, Callable[[int], dict[str, float]]],
    traces: int,
    pool: ProcessPoolExecutor,
) -> dict[str, dict[str, float]]:
    """Prints a row a setting."""
    print(f"\n## {title}; {traces} traces each")
    rows: dict[str, dict[str, float]] = {}
    for name, one in cases.items():
        rows[name] = averaged(one, traces, pool)
        print(
            f"{name:<46}"
            + "  ".join(f"{key} {100 * value:.2f}" for key, value in rows[name].items()),
            flush=True,
        )
    return rows


def group_arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """share_NLE recentred, choices_N in a layer, domain_id_N."""
    if path.suffix == ".npz":
        with np.load(path) as stored:
            tokens_NLE, domain_id_N = stored["tokens_NLE"], stored["domain_id_N"]
    else:
        from analysis import arrays, queries
        from data.store import open_trace

        with open_trace(path) as con:
            tokens_NLE, domain_id_N = arrays.group_array(con, queries.trace_info(con))
    return recentred(tokens_NLE, domain_id_N), tokens_NLE[:, 0].sum(-1), domain_id_N


def speed() -> dict[str, float]:
    """1,000 resamples of 2,000 documents, 27 layers, 64 experts: seconds, and the peak in MB."""
    rng = np.random.default_rng(0)
    tokens_NLE = rng.poisson(24, (2000, 27, EXPERTS)).astype(np.int32)
    domain_id_N = np.arange(2000) % len(DOMAINS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    started = time.perf_counter()
    loads_of = resampled_loads(tokens_NLE, domain_id_N, num_domains=len(DOMAINS))
    for layer_id in range(tokens_NLE.shape[1]):
        load.load_imbalance(loads_of(layer_id).sum(1).T)
    resampled = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    started = time.perf_counter()
    lift_table(tokens_NLE, domain_id_N, domains=DOMAINS)
    whole = time.perf_counter() - started
    loop = 1000 / 20 * looped(tokens_NLE, range(20))
    return {
        "bootstrap_seconds": round(resampled, 2),
        "bootstrap_mb": round(peak),
        "before_mb": round(before),
        "lift_table_seconds": round(whole, 2),
        "lift_table_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
        "plain_loop_seconds": round(loop, 1),
        "faster_than_plain_loop": round(loop / resampled, 1),
    }


def looped(tokens_NLE: np.ndarray, seeds: Iterable[int]) -> float:
    """Seconds of the reference: take the documents of one resample, sum them by domain."""
    started = time.perf_counter()
    by_domain = [np.arange(g, len(tokens_NLE), len(DOMAINS)) for g in range(len(DOMAINS))]
    for seed in seeds:
        rng = np.random.default_rng(seed)
        sums = [tokens_NLE[rng.choice(of, len(of))].sum(0) for of in by_domain]
        log_lift(np.stack(sums, -1))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
