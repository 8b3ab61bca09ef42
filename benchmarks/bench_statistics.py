"""How often our statistics are wrong, on traces whose truth is known; and how fast they are.

    python -m benchmarks.bench_statistics
    python -m benchmarks.bench_statistics --traces 20     # a first look

A trace here is one layer of 64 experts, 6 chosen, with 50 documents of about 256 tokens in each of
six domains. Prints tables; the last line is one JSON object.
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

import numpy as np
import scipy
from scipy import stats

from analysis import load, specialization
from analysis.bootstrap import bootstrap_loads
from analysis.conditional import conditional_information
from analysis.influence import log_lift
from analysis.metric_intervals import LOAD_METRICS, mean_divergence, metric_table
from analysis.significance import MAX_Q, lift_table
from benchmarks.known_truth import DOMAINS, EXPERTS, NULLS, PLANTED, TOKENS, TOP_K, UNEVEN, Truth

FALSE_BAR, COVERAGE_BAR, POWER_BAR = 6.5, (93, 97), 0.9
CHECKED = LOAD_METRICS[:1] + LOAD_METRICS[2:-1]  # MaxVio is load_imbalance - 1
CHECKED_DOMAINS = (specialization.mutual_information, mean_divergence)
METRIC_TRACES = 5  # times as many: a trace gives one interval of each figure


# one trace each


def null_trace(truth: Truth, seed: int) -> dict[str, float]:
    tokens_NLE, domain_id_N = truth.sample(np.random.default_rng(seed))
    table = lift_table(tokens_NLE, domain_id_N, domains=DOMAINS, seed=seed)
    p = table.p.dropna().to_numpy(float)
    naive_p = chi_square_p(tokens_NLE[:, 0], domain_id_N)
    return {
        "any": float((table.q < MAX_Q).any()),
        "p": float((p < 0.05).mean()),
        "naive_any": float((stats.false_discovery_control(naive_p) < MAX_Q).any()),
        "naive_p": float((naive_p < 0.05).mean()),
    }


def chi_square_p(tokens_NE: np.ndarray, domain_id_N: np.ndarray) -> np.ndarray:
    """The test that takes tokens for the sample: each living expert and domain, 2 x 2."""
    tokens_GE = np.stack([tokens_NE[domain_id_N == g].sum(0) for g in range(len(DOMAINS))])
    tokens_GE = tokens_GE[:, tokens_GE.sum(0) > 0]
    total = tokens_GE.sum()
    expert_E, domain_G1 = tokens_GE.sum(0), tokens_GE.sum(1, keepdims=True)
    expected_GE = domain_G1 * expert_E / total
    variance_GE = expected_GE * (1 - expert_E / total) * (1 - domain_G1 / total)
    return stats.chi2.sf(((tokens_GE - expected_GE) ** 2 / variance_GE).ravel(), 1)


def planted_trace(lift: float, truth: Truth, seed: int) -> dict[str, float]:
    tokens_NLE, domain_id_N = truth.sample(np.random.default_rng(seed))
    table = lift_table(tokens_NLE, domain_id_N, domains=DOMAINS, seed=seed)
    true = truth.true_log_lift().ravel()
    own_EG = np.zeros((EXPERTS, len(DOMAINS)), bool)
    for g in range(len(DOMAINS)):
        own_EG[[2 * g, 2 * g + 1], g] = True
    own = own_EG.ravel()
    found = (table.q < MAX_Q).fillna(False).to_numpy(bool)
    wrong_sign = np.sign(table.estimate.to_numpy(float)) != np.sign(true)
    false = found & (wrong_sign | (np.abs(true) < 1e-9))
    low, high = table.low.to_numpy(float), table.high.to_numpy(float)
    return {
        "power": float(found[own].mean()),
        "false": float(false.sum() / max(found.sum(), 1)),
        "covered": float(((low <= true) & (true <= high)).mean()),
        "covered_own": float(((low <= true) & (true <= high))[own].mean()),
        "detectable": float(np.median(table.smallest_detectable.to_numpy(float)[own])),
    }


def metric_trace(truth: Truth, seed: int) -> dict[str, float]:
    tokens_NLE, domain_id_N = truth.sample(np.random.default_rng(seed))
    table = metric_table(tokens_NLE, domain_id_N, domains=DOMAINS, seed=seed).set_index("metric")
    tokens_LEG = truth.share_GE.T[None]
    true = {metric.__name__: float(metric(tokens_LEG.sum(-1))[0]) for metric in CHECKED}
    true |= {metric.__name__: float(metric(tokens_LEG)[0]) for metric in CHECKED_DOMAINS}
    return {
        name: float(table.low[name] <= value <= table.high[name]) for name, value in true.items()
    }


def token_driven_trace(seed: int, *, vocabulary: int = 300) -> dict[str, float]:
    """Every token id has its own experts. Domains either share one vocabulary or use each their
    own frequencies: then expert and domain go together, and only through the token."""
    rng = np.random.default_rng(seed)
    expert_ids_VK = np.stack([rng.permutation(EXPERTS)[:TOP_K] for _ in range(vocabulary)])
    documents = 10 * len(DOMAINS)
    document_T = np.repeat(np.arange(documents), TOKENS)
    domain_id_T = document_T % len(DOMAINS)
    figures: dict[str, float] = {}
    for name, concentration in (("shared words", None), ("own words", 0.3)):
        share_GV = np.full((len(DOMAINS), vocabulary), 1 / vocabulary)
        if concentration is not None:
            share_GV = rng.dirichlet(np.full(vocabulary, concentration), len(DOMAINS))
        share_NV = np.stack(
            [rng.dirichlet(50 * share_GV[n % len(DOMAINS)] + 1e-3) for n in range(documents)]
        )
        token_id_T = np.concatenate(
            [rng.choice(vocabulary, TOKENS, p=share_NV[n]) for n in range(documents)]
        )
        ids_TK = expert_ids_VK[token_id_T]
        swapped = rng.random(ids_TK.shape) < 0.2  # context decides a part of the choices
        ids_TK = np.where(swapped, rng.integers(EXPERTS, size=ids_TK.shape), ids_TK)
        chosen_TE = np.zeros((len(ids_TK), EXPERTS), bool)
        np.put_along_axis(chosen_TE, ids_TK, True, axis=1)
        domains_GE = np.stack([chosen_TE[domain_id_T == g].sum(0) for g in range(len(DOMAINS))])
        found = conditional_information(chosen_TE, token_id_T, document_T, domain_id_T, seed=seed)
        plain = specialization.mutual_information(domains_GE.T[None].astype(float))
        figures |= {
            f"{name}: plain": float(plain[0]),
            f"{name}: plug-in": found.plug_in,
            f"{name}: corrected": found.corrected,
            f"{name}: p": float(found.p < 0.05),
        }
    return figures


# over many


def averaged(
    one: Callable[[int], dict[str, float]], traces: int, pool: ProcessPoolExecutor
) -> dict[str, float]:
    rows = list(pool.map(one, range(traces), chunksize=5))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=400, help="of every setting")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)  # the child
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    if arguments.memory:
        print(json.dumps(speed()))
        return
    child = [sys.executable, __file__, "--memory"]
    figures: dict[str, object] = json.loads(
        subprocess.run(child, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )
    print(
        f"{platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"{os.cpu_count()} cores\n{figures}"
    )
    with ProcessPoolExecutor(2) as pool:
        figures["nulls"] = nulls(arguments.traces, pool)
        figures["planted"] = plants(arguments.traces, pool)
        figures["metrics"] = metrics(METRIC_TRACES * arguments.traces, pool)
        figures["token"] = averaged(token_driven_trace, max(10, arguments.traces // 2), pool)
    print("\n## Token identity alone drives routing, nats a choice; p: share below 0.05")
    for name, value in figures["token"].items():  # type: ignore[attr-defined]
        print(f"{name:<30}{value:9.4f}")
    print(json.dumps(figures))


def nulls(traces: int, pool: ProcessPoolExecutor) -> dict[str, dict[str, float]]:
    print(
        f"\n## No domain effect, {traces} traces each: percent of traces with a discovery, "
        f"percent of cells with p < 0.05 (bar {FALSE_BAR})"
    )
    print(f"{'':<46}{'any q<.05':>10}{'p<.05':>8}{'chi2 any':>10}{'chi2 p':>8}")
    found = {}
    for name, truth in NULLS.items():
        row = found[name] = averaged(partial(null_trace, truth), traces, pool)
        values = [100 * row[key] for key in ("any", "p", "naive_any", "naive_p")]
        print(
            f"{name:<46}{values[0]:>10.1f}{values[1]:>8.2f}{values[2]:>10.1f}{values[3]:>8.1f}",
            flush=True,
        )
    return found


def plants(traces: int, pool: ProcessPoolExecutor) -> dict[str, dict[str, float]]:
    print(f"\n## Planted specialists, {traces} traces each")
    print(
        f"{'':<26}{'power':>8}{'false %':>9}{'covered %':>11}{'of planted %':>14}{'detectable':>12}"
    )
    found = {}
    for name, (lift, truth) in PLANTED.items():
        row = found[name] = averaged(partial(planted_trace, lift, truth), traces, pool)
        print(
            f"{name:<26}{row['power']:>8.3f}{100 * row['false']:>9.2f}{100 * row['covered']:>11.2f}"
            f"{100 * row['covered_own']:>14.2f}{2 ** row['detectable']:>12.2f}",
            flush=True,
        )
    return found


def metrics(traces: int, pool: ProcessPoolExecutor) -> dict[str, dict[str, float]]:
    print(f"\n## Coverage of the layer's figures, {traces} traces each, percent")
    found = {}
    for name in ("heavy-tailed load", "autocorrelation, heavy tail, lengths differ"):
        found[name] = averaged(partial(metric_trace, NULLS[name]), traces, pool)
    for name, truth in UNEVEN.items():
        found[name] = averaged(partial(metric_trace, truth), traces, pool)
    for name in ("lift 2.0, mild", "lift 4.0, autocorrelation"):
        found[name] = averaged(partial(metric_trace, PLANTED[name][1]), traces, pool)
    for name, row in found.items():
        print(f"{name:<46}" + "  ".join(f"{key} {100 * value:.1f}" for key, value in row.items()))
    return found


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
