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
from scipy import stats

from analysis import load, specialization
from analysis.bootstrap import bootstrap_loads
from analysis.expert_loads import expert_load_table
from analysis.influence import log_lift
from analysis.metric_intervals import LOAD_METRICS, mean_divergence, metric_table
from analysis.significance import MAX_Q, lift_table, specialists
from benchmarks.causal_null import causal_null_trace
from benchmarks.known_truth import (
    DOMAINS,
    EXPERTS,
    NULLS,
    PERFECT,
    PLANTED,
    UNEVEN,
    Truth,
    drawn_again,
    recentred,
)
from benchmarks.token_truth import token_driven_trace

FALSE_BAR, COVERAGE_BAR, POWER_BAR = 6.5, (92, 97), 0.9
CHECKED = LOAD_METRICS[:1] + LOAD_METRICS[2:-1]  # MaxVio is load_imbalance - 1
CHECKED_DOMAINS = (specialization.mutual_information, mean_divergence)
METRIC_TRACES = 2  # times as many: a trace gives one interval of each figure


# one trace each


def null_trace(truth: Truth, seed: int) -> dict[str, float]:
    tokens_NLE, domain_id_N = truth.sample(np.random.default_rng(seed))
    table = lift_table(tokens_NLE, domain_id_N, domains=truth.domains, seed=seed)
    by_document = truth.sample(np.random.default_rng(seed), groups_stated=False)
    naive_p = chi_square_p(by_document[0][:, 0], by_document[1])
    ungrouped = table
    if truth.group > 1:
        ungrouped = lift_table(*by_document, domains=truth.domains, seed=seed)
    loads = expert_load_table(tokens_NLE, domain_id_N)
    choices_E = truth.expected_choices().sum(0)
    with np.errstate(divide="ignore"):
        true_load_E = np.log2(choices_E / choices_E.mean())
    return {
        "any": _any(table),
        "p": float((table.p.dropna().to_numpy(float) < 0.05).mean()),
        "covered": _covered(table, truth.true_log_lift().ravel()),
        "load covered": _covered(loads, true_load_E),
        "refused": float(table.low.isna().mean()),
        "ungrouped any": _any(ungrouped),
        "naive any": float((stats.false_discovery_control(naive_p) < MAX_Q).any()),
    }


def recentred_trace(
    share_NLE: np.ndarray, choices_N: np.ndarray, domain_id_N: np.ndarray, seed: int
) -> dict[str, float]:
    """Groups of a real trace whose every lift is 1, drawn again."""
    tokens_NLE = drawn_again(share_NLE, choices_N, domain_id_N, np.random.default_rng(seed))
    names = [str(domain_id) for domain_id in range(domain_id_N.max() + 1)]
    table = lift_table(tokens_NLE, domain_id_N, domains=names, seed=seed)
    return {
        "any": _any(table),
        "p": float((table.p.dropna().to_numpy(float) < 0.05).mean()),
        "covered": _covered(table, np.zeros(len(table))),
        "refused": float(table.low.isna().mean()),
        "specialists": float(len(specialists(table))),
    }


def _any(table: pd.DataFrame) -> float:
    return float((table.q < MAX_Q).fillna(False).any())


def _covered(table: pd.DataFrame, true: np.ndarray) -> float:
    """Of the intervals that are given; NaN if none is."""
    low, high = (table[name].to_numpy(float, na_value=np.nan) for name in ("low", "high"))
    given = ~np.isnan(low)
    return float(((low <= true) & (true <= high))[given].mean()) if given.any() else np.nan


def chi_square_p(tokens_NE: np.ndarray, domain_id_N: np.ndarray) -> np.ndarray:
    """The test that takes tokens for the sample: each living expert and domain, 2 x 2."""
    tokens_GE = np.stack([tokens_NE[domain_id_N == g].sum(0) for g in np.unique(domain_id_N)])
    tokens_GE = tokens_GE[:, tokens_GE.sum(0) > 0]
    total = tokens_GE.sum()
    expert_E, domain_G1 = tokens_GE.sum(0), tokens_GE.sum(1, keepdims=True)
    expected_GE = domain_G1 * expert_E / total
    variance_GE = expected_GE * (1 - expert_E / total) * (1 - domain_G1 / total)
    return stats.chi2.sf(((tokens_GE - expected_GE) ** 2 / variance_GE).ravel(), 1)


def planted_trace(lift: float, truth: Truth, seed: int) -> dict[str, float]:
    tokens_NLE, domain_id_N = truth.sample(np.random.default_rng(seed))
    table = lift_table(tokens_NLE, domain_id_N, domains=truth.domains, seed=seed)
    true = truth.true_log_lift().ravel()
    num_domains = len(truth.domains)
    own_EG = np.zeros((tokens_NLE.shape[-1], num_domains), bool)
    for g in range(num_domains):
        own_EG[[2 * g, 2 * g + 1], g] = True
    own = own_EG.ravel()
    found = (table.q < MAX_Q).fillna(False).to_numpy(bool)
    wrong_sign = np.sign(table.estimate.to_numpy(float)) != np.sign(true)
    false = found & (wrong_sign | (np.abs(true) < 1e-9))
    detectable = table.smallest_detectable.to_numpy(float, na_value=np.nan)[own]
    return {
        "power": float(found[own].mean()),
        "false": float(false.sum() / max(found.sum(), 1)),
        "covered": _covered(table, true),
        "covered own": _covered(table[own], true[own]),
        "refused": float(table.low.isna().mean()),
        "detectable": float(np.nanmedian(detectable)),
    }


def perfect_trace(truth: Truth, seed: int) -> dict[str, float]:
    """An expert a domain that takes all of it and nothing else: found, and nothing more?"""
    tokens_NLE, domain_id_N = truth.sample(np.random.default_rng(seed))
    table = specialists(lift_table(tokens_NLE, domain_id_N, domains=truth.domains, seed=seed))
    right = [
        domain == truth.domains[e] for e, domain in zip(table.expert_id, table.domain, strict=True)
    ]
    return {"power": sum(right) / len(truth.domains), "false": float(len(table) - sum(right))}


def causal_trace(lift: float, seed: int) -> dict[str, float]:
    return {"confirmed": causal_null_trace(lift, seed)}


def metric_trace(truth: Truth, seed: int) -> dict[str, float]:
    """1 where the interval holds the truth, 0 where it does not, NaN where it is refused."""
    tokens_NLE, domain_id_N = truth.sample(np.random.default_rng(seed))
    table = metric_table(tokens_NLE, domain_id_N, domains=truth.domains, seed=seed)
    table = table.set_index("metric")
    tokens_LEG = truth.expected_choices().T[None]
    true = {metric.__name__: float(metric(tokens_LEG.sum(-1))[0]) for metric in CHECKED}
    true |= {metric.__name__: float(metric(tokens_LEG)[0]) for metric in CHECKED_DOMAINS}
    return {name: _covered(table.loc[[name]], np.array([value])) for name, value in true.items()}


# over many


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
    names = ("heavy-tailed load", "autocorrelation, heavy tail, lengths differ")
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
    for tokens_EGR in bootstrap_loads(tokens_NLE, domain_id_N, num_domains=len(DOMAINS)):
        load.load_imbalance(tokens_EGR.sum(1).T)
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
