"""Every figure of a layer with its interval and its null, the document as the sample.

N = documents, L = MoE layers, E = routed experts, G = domains, R = resamples, P = permutations.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis import load, specialization
from analysis.bootstrap import CONFIDENCE, basic_interval, bootstrap_loads
from analysis.permutation import permuted_labels
from analysis.significance import NOT_ENOUGH, require_documents

Metric = Callable[[np.ndarray], np.ndarray]

MIN_FREEDOM = 4  # documents beyond one a domain
NULL_PERMUTATIONS = 100
DISTINCT_RESAMPLES = 200  # in each, every expert is compared with every other


def mean_divergence(tokens_LEG: np.ndarray) -> np.ndarray:
    """jensen_shannon, mean over the living experts of a layer [L], bits."""
    return np.nanmean(specialization.jensen_shannon(tokens_LEG), -1)


LOAD_METRICS: tuple[Metric, ...] = (
    load.load_imbalance,
    load.max_violation,
    load.gini,
    load.coefficient_of_variation,
    load.normalized_entropy,
    load.busiest_share,
    load.dead_experts,
)
DOMAIN_METRICS: tuple[Metric, ...] = (
    specialization.mutual_information,
    specialization.information_share,
    mean_divergence,
    specialization.distinct_share,
)
UNBOUNDED = (
    load.load_imbalance,
    load.max_violation,
    load.coefficient_of_variation,
    specialization.mutual_information,
)


def metric_table(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, *, domains: Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """A row a layer and metric of docs/metrics.md.

    layer_id, metric, estimate (as everywhere), corrected (less what few documents add to it), low,
    high (95 % interval of the corrected), null (balanced load, or the mean of the estimate over
    labels permuted over documents), note (what cannot be said and why, else empty).
    """
    require_documents(tokens_NLE, domain_id_N)
    loads = bootstrap_loads(tokens_NLE, domain_id_N, num_domains=len(domains), seed=seed)
    labels_PN = permuted_labels(domain_id_N, permutations=NULL_PERMUTATIONS, seed=seed)
    member_PGN = (labels_PN[:, None] == np.arange(len(domains))[:, None]).astype(np.float32)
    freedom = len(domain_id_N) - len(np.unique(domain_id_N))
    rows = []
    for layer_id, tokens_EGR in enumerate(loads):
        tokens_PEG = (member_PGN @ tokens_NLE[:, layer_id].astype(np.float32)).swapaxes(1, 2)
        for row in _layer_rows(np.moveaxis(tokens_EGR, -1, 0), tokens_PEG, freedom):
            rows.append({"layer_id": layer_id} | row)
    numbers = dict.fromkeys(("estimate", "corrected", "low", "high", "null"), "Float64")
    return pd.DataFrame(rows).astype(numbers)


def _layer_rows(
    tokens_REG: np.ndarray, tokens_PEG: np.ndarray, freedom: int
) -> Iterator[dict[str, Any]]:
    """tokens_PEG begins with the trace as it is."""
    tokens_RE, tokens_1E = tokens_REG.sum(-1), tokens_PEG[:1].sum(-1)
    balance_E = tokens_1E.mean() / np.maximum(tokens_1E[0], 1)
    for metric in LOAD_METRICS:
        row = _row(metric, tokens_RE, tokens_1E, freedom)
        yield _reaching_balance(row, metric, tokens_RE * balance_E)
    for metric in DOMAIN_METRICS:
        slow = metric is specialization.distinct_share
        yield _row(metric, tokens_REG[: DISTINCT_RESAMPLES if slow else None], tokens_PEG, freedom)


def _row(
    metric: Metric, resampled: np.ndarray, permuted: np.ndarray, freedom: int
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(("estimate", "corrected", "low", "high", "null"))
    row |= {"metric": metric.__name__, "note": ""}
    if metric in DOMAIN_METRICS and (permuted[0].sum(0) > 0).sum() == 1:
        return row | {"note": "one domain: nothing to compare"}
    try:
        estimate = metric(permuted[:1].astype(np.float64))
        row |= {"estimate": estimate[0], "null": _null(metric, permuted)}
        row |= _interval(metric, estimate, metric(resampled)[None], freedom)
    except ValueError as refused:
        row["note"] = str(refused)
    return row


def _reaching_balance(
    row: dict[str, Any], metric: Metric, balanced_RE: np.ndarray
) -> dict[str, Any]:
    """The interval holds perfect balance if a balanced router shows as much in such documents.

    Resampling alone cannot see this: an estimate of balance only errs to one side.
    """
    if row["low"] is None:
        return row
    sign = -1 if metric is load.normalized_entropy else 1
    shown_R = sign * metric(balanced_RE)
    if sign * row["estimate"] <= np.quantile(shown_R, CONFIDENCE):
        row["high" if sign < 0 else "low"] = row["null"]
    return row


def _null(metric: Metric, permuted: np.ndarray) -> float:
    if metric in DOMAIN_METRICS:
        return float(metric(permuted[1:]).mean())
    return float(metric(np.ones((1, permuted.shape[-1])))[0])


def _interval(
    metric: Metric, estimate: np.ndarray, resampled_1R: np.ndarray, freedom: int
) -> dict[str, object]:
    if metric is load.dead_experts:
        return {"note": "no interval: documents drawn again choose no new expert"}
    if freedom < MIN_FREEDOM:
        return {"note": f"{NOT_ENOUGH} how sure this is"}
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    low, high = basic_interval(resampled_1R, estimate, quantile)
    smallest = 1.0 if metric is load.load_imbalance else 0.0
    largest = np.inf if metric in UNBOUNDED else 1.0
    values = {"corrected": 2 * estimate - resampled_1R.mean(-1), "low": low, "high": high}
    return {name: float(value[0].clip(smallest, largest)) for name, value in values.items()}
