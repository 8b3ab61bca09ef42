"""Every figure of a layer with its interval and its null, the group as the sample.

N = groups, L = MoE layers, E = routed experts, G = domains, R = resamples, P = permutations.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import load, specialization
from analysis.bootstrap import CONFIDENCE, basic_interval, bootstrap_loads, jackknife_quantile
from analysis.groups import too_few
from analysis.layers import of_layers
from analysis.permutation import adjusted, permuted_labels
from analysis.significance import require_groups

Metric = Callable[[np.ndarray], np.ndarray]

NULL_PERMUTATIONS = 100
DISTINCT_RESAMPLES = 200  # in each, every expert is compared with every other
NOISE = 1e-7  # of figures of resamples, which are float32


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
DISTANCES = (load.gini, load.coefficient_of_variation)  # noise adds to their squares
LARGEST = (load.load_imbalance, load.max_violation)  # resampling may take off too much
UNBOUNDED = (
    load.load_imbalance,
    load.max_violation,
    load.coefficient_of_variation,
    specialization.mutual_information,
)


@dataclass(frozen=True, slots=True)
class Layer:
    """The choices of one layer, as they are and as they might have been."""

    domain_id_N: np.ndarray
    load_N: np.ndarray
    resampled_REG: np.ndarray
    permuted_PEG: np.ndarray  # the first as it is, then with labels permuted over groups
    without_NEG: np.ndarray  # each group left out

    def balanced_loads(self) -> np.ndarray:
        """Resamples [R, E] as if every living expert had the same load."""
        tokens_RE, tokens_E = self.resampled_REG.sum(-1), self.permuted_PEG[0].sum(-1)
        return tokens_RE * (tokens_E.mean() / np.maximum(tokens_E, 1))

    def equal_domains(self) -> np.ndarray:
        """Resamples [R, E, G] as if the choices of every domain spread over the experts as those of
        all do, and its groups differed as they do."""
        tokens_EG = self.permuted_PEG[0].astype(np.float64)
        load_G, tokens_E1 = tokens_EG.sum(0), tokens_EG.sum(-1, keepdims=True)
        expected_EG = tokens_E1 * (load_G / max(load_G.sum(), 1))
        return self.resampled_REG * (expected_EG / np.maximum(tokens_EG, 0.5))

    def alike(self) -> bool:
        """Whether no resample changes the share of an expert and domain."""
        share_REG = self.resampled_REG / self.resampled_REG.sum((1, 2), keepdims=True)
        return bool((share_REG.std(0) < 1e-6).all())


def metric_table(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    domains: Sequence[str],
    experts_L: np.ndarray | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a layer and metric of docs/metrics.md; experts_L as in analysis/layers.py.

    layer_id, metric, estimate (as everywhere), corrected (less what few groups add to it), low,
    high (95 % interval of the corrected), null (balanced load, or the mean of the estimate over
    labels permuted over groups), p (of the null), q (over the layers of the metric), note (what
    cannot be said and why, else empty).
    """
    require_groups(tokens_NLE, domain_id_N)
    loads = bootstrap_loads(tokens_NLE, domain_id_N, num_domains=len(domains), seed=seed)
    labels_PN = permuted_labels(domain_id_N, permutations=NULL_PERMUTATIONS, seed=seed)
    member_PGN = (labels_PN[:, None] == np.arange(len(domains))[:, None]).astype(np.float32)
    rows = []
    of = of_layers(tokens_NLE, experts_L)
    for layer_id, (own_NE, tokens_EGR) in enumerate(zip(of, loads, strict=True)):
        tokens_NE = own_NE.astype(np.float32)
        tokens_PEG = (member_PGN @ tokens_NE).swapaxes(1, 2)
        own_NEG = tokens_NE[:, :, None] * member_PGN[0].T[:, None]
        layer = Layer(
            domain_id_N,
            tokens_NE.sum(-1),
            resampled_REG=np.moveaxis(tokens_EGR[: own_NE.shape[1]], -1, 0),
            permuted_PEG=tokens_PEG,
            without_NEG=tokens_PEG[0] - own_NEG,
        )
        rows += [{"layer_id": layer_id} | row for row in _layer_rows(layer)]
    table = pd.DataFrame(rows)
    table["q"] = table.groupby("metric").p.transform(adjusted)
    numbers = ["estimate", "corrected", "low", "high", "null", "p", "q"]
    return table.astype(dict.fromkeys(numbers, "Float64"))[["layer_id", "metric", *numbers, "note"]]


def _layer_rows(layer: Layer) -> Iterator[dict[str, object]]:
    balanced_RE = layer.balanced_loads()
    for metric in (*LOAD_METRICS, *DOMAIN_METRICS):
        row: dict[str, object] = {"metric": metric.__name__}
        row |= dict.fromkeys(("estimate", "corrected", "low", "high", "null", "p")) | {"note": ""}
        if metric in DOMAIN_METRICS and (layer.permuted_PEG[0].sum(0) > 0).sum() == 1:
            yield row | {"note": "one domain: nothing to compare"}
            continue
        try:
            yield row | _figures(metric, layer, balanced_RE)
        except ValueError as refused:
            yield row | {"note": str(refused)}


def _figures(metric: Metric, layer: Layer, balanced_RE: np.ndarray) -> dict[str, object]:
    of_domains = metric in DOMAIN_METRICS
    tokens = layer.permuted_PEG[:1].astype(np.float64)
    estimate = metric(tokens if of_domains else tokens.sum(-1))
    if of_domains:
        all_P = metric(layer.permuted_PEG)
        observed, shown_P = all_P[0], all_P[1:]
        null = float(shown_P.mean())
        slow = metric is specialization.distinct_share
        equal_R = metric(layer.equal_domains()[: DISTINCT_RESAMPLES if slow else None])
    else:
        observed, shown_P = estimate[0], metric(balanced_RE)
        balanced_1E = np.ones((1, balanced_RE.shape[-1]))
        null = float(metric(balanced_1E)[0])
    figures: dict[str, object] = {"estimate": estimate[0], "null": null}
    if metric is load.dead_experts:
        return figures | {"note": "no interval: texts drawn again choose no new expert"}
    if few := too_few(layer.load_N, layer.domain_id_N):
        return figures | {"note": few}
    sign = -1 if metric is load.normalized_entropy else 1
    p = _rank_p(sign * observed, sign * shown_P)
    if of_domains:  # labels are exchangeable only where domains spread alike
        p = max(p, _rank_p(observed, equal_R))
    if not (interval := _interval(metric, estimate, layer, null=0.0 if of_domains else null)):
        if metric is specialization.distinct_share and not layer.alike():  # it moves in steps
            return figures | {"p": p, "note": "no interval: texts drawn again do not change it"}
        return figures | {"note": "texts all alike: nothing to test"}
    p = max(p, interval.pop("reaching"))
    if interval["low"] == interval["high"]:
        return figures | {"p": p, "note": "no interval: texts drawn again hardly change it"}
    figures |= interval
    if p > 1 - CONFIDENCE:
        figures["high" if sign < 0 else "low"] = 0.0 if of_domains else null
    return figures | {"p": p}


def _rank_p(observed: float, shown_P: np.ndarray) -> float:
    """How often chance shows as much: resampling alone cannot see that an estimate of nothing
    errs to one side only."""
    return float((1 + (shown_P >= observed).sum()) / (1 + len(shown_P)))


def _interval(
    metric: Metric, estimate: np.ndarray, layer: Layer, *, null: float
) -> dict[str, float]:
    """corrected, low, high; reaching: the share of resamples that the correction brings to the null
    or beyond, which labels permuted over groups of unlike spread cannot show."""
    slow = metric is specialization.distinct_share
    power = 2 if metric in DISTANCES else 1

    def of(tokens_NEG: np.ndarray) -> np.ndarray:
        return metric(tokens_NEG if metric in DOMAIN_METRICS else tokens_NEG.sum(-1)) ** power

    resampled_R = of(layer.resampled_REG[: DISTINCT_RESAMPLES if slow else None])
    without_N = np.zeros(len(layer.domain_id_N)) if slow else of(layer.without_NEG)
    error = float(resampled_R.std())
    if error < 1e-6 * abs(float(resampled_R.mean())) + NOISE:
        return {}
    quantile = jackknife_quantile(without_N, layer.domain_id_N, error=error)
    low, high = basic_interval(resampled_R[None], estimate**power, quantile)
    if metric in LARGEST:
        low, high = (
            np.minimum(low, 2 * estimate**power - high),
            np.maximum(high, 2 * estimate**power - low),
        )
    corrected = 2 * estimate**power - resampled_R.mean()
    basic_R = 2 * estimate**power - resampled_R
    beyond_R = basic_R >= null if metric is load.normalized_entropy else basic_R <= null**power
    smallest = 1.0 if metric is load.load_imbalance else 0.0
    largest = np.inf if metric in UNBOUNDED else 1.0
    values = {"corrected": corrected, "low": low, "high": high}
    reaching = float((1 + beyond_R.sum()) / (1 + len(beyond_R)))
    return {"reaching": reaching} | {
        name: float((value[0].clip(0) ** (1 / power)).clip(smallest, largest))
        for name, value in values.items()
    }
