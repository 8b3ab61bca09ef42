"""Every figure of a layer with its interval and its null, the group as the sample.

N = groups, L = MoE layers, E = routed experts, G = domains, R = resamples, P = permutations.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import load, specialization
from analysis.bootstrap import CONFIDENCE, basic_interval, jackknife_quantile, resampled_loads
from analysis.groups import too_few
from analysis.layers import in_threads, of_layers
from analysis.permutation import adjusted, members, permuted_labels, permuted_loads
from analysis.refusals import one_domain
from analysis.resampled_figures import distinct_shares, domain_figures, load_figures
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
    tokens_NE: np.ndarray
    resampled_EGR: np.ndarray
    permuted_EGP: np.ndarray  # the first as it is, then with labels permuted over groups

    def counted(self) -> np.ndarray:
        """tokens_EG"""
        return self.permuted_EGP[..., 0].astype(np.float64)

    def balanced_loads(self) -> np.ndarray:
        """Resamples [R, E] as if every living expert had the same load."""
        tokens_E = self.permuted_EGP[..., 0].sum(-1)
        return self.resampled_EGR.sum(1).T * (tokens_E.mean() / np.maximum(tokens_E, 1))

    def equal_domains(self) -> np.ndarray:
        """Of every count: the resamples [E, G, R] times this are as if the choices of every domain
        spread over the experts as those of all do, and its groups differed as they do."""
        tokens_EG = self.counted()
        load_G = tokens_EG.sum(0)
        expected_EG = tokens_EG.sum(-1, keepdims=True) * (load_G / max(load_G.sum(), 1))
        return (expected_EG / np.maximum(tokens_EG, 0.5)).astype(np.float32)

    def without_each(self) -> dict[str, np.ndarray]:
        """The figures with each group left out [N]."""
        own_EN, tokens_EG = self.tokens_NE.T, self.permuted_EGP[..., 0]
        is_own_GN = self.domain_id_N == np.arange(tokens_EG.shape[1])[:, None]

        def block_of(of: slice) -> np.ndarray:
            return tokens_EG[of, :, None] - own_EN[of, None] * is_own_GN

        figures = load_figures(tokens_EG.sum(-1) - self.tokens_NE)
        if (tokens_EG.sum(0) > 0).sum() > 1:
            size_GN = tokens_EG.sum(0)[:, None] - own_EN.sum(0) * is_own_GN
            figures |= domain_figures(block_of, size_GN, len(own_EN))
        return figures

    def alike(self) -> bool:
        """Whether no resample changes the share of an expert and domain."""
        total_R = self.resampled_EGR.sum((0, 1))
        return all((tokens_GR / total_R).std(-1).max() < 1e-6 for tokens_GR in self.resampled_EGR)


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
    loads = resampled_loads(tokens_NLE, domain_id_N, num_domains=len(domains), seed=seed)
    labels_PN = permuted_labels(domain_id_N, permutations=NULL_PERMUTATIONS, seed=seed)
    member_NC = members(labels_PN, num_domains=len(domains))
    of = of_layers(tokens_NLE, experts_L)

    def of_layer(layer_id: int) -> list[dict[str, object]]:
        tokens_NE = of[layer_id].astype(np.float32)
        permuted_EGP = permuted_loads(tokens_NE, member_NC, num_domains=len(domains))
        resampled_EGR = loads(layer_id)[: tokens_NE.shape[1]]
        layer = Layer(domain_id_N, tokens_NE, resampled_EGR, permuted_EGP)
        return [{"layer_id": layer_id} | row for row in _layer_rows(layer)]

    rows = [row for rows in in_threads(of_layer, len(of)) for row in rows]
    table = pd.DataFrame(rows)
    table["q"] = table.groupby("metric").p.transform(adjusted)
    numbers = ["estimate", "corrected", "low", "high", "null", "p", "q"]
    return table.astype(dict.fromkeys(numbers, "Float64"))[["layer_id", "metric", *numbers, "note"]]


def _layer_rows(layer: Layer) -> Iterator[dict[str, object]]:
    compared = (layer.counted().sum(0) > 0).sum() != 1
    few = too_few(layer.tokens_NE.sum(-1), layer.domain_id_N)
    shown = _shown(layer, compared=compared, tested=not few)
    for metric in (*LOAD_METRICS, *DOMAIN_METRICS):
        row: dict[str, object] = {"metric": metric.__name__}
        row |= dict.fromkeys(("estimate", "corrected", "low", "high", "null", "p")) | {"note": ""}
        if metric in DOMAIN_METRICS and not compared:
            yield row | {"note": "one domain: nothing to compare"}
            continue
        try:
            yield row | _figures(metric, layer, shown, few=few)
        except ValueError as refused:
            yield row | {"note": str(refused)}


Shown = dict[str, dict[str, np.ndarray | str]]  # by the set and the metric: values, or why none


def _shown(layer: Layer, *, compared: bool, tested: bool) -> Shown:
    """Every metric of the resamples, of them without what is tested, of permutations (the labels as
    they are first), and of each group left out; those of domains if they are compared."""
    shown: Shown = {"resampled": {}, "null": {}, "permuted": {}, "without": {}}
    if tested:
        loads_RE = np.ascontiguousarray(layer.resampled_EGR.sum(1).T)
        shown["resampled"] |= _known(LOAD_METRICS, lambda: load_figures(loads_RE))
        shown["null"] |= _known(LOAD_METRICS, lambda: load_figures(layer.balanced_loads()))
        every = LOAD_METRICS + (DOMAIN_METRICS if compared else ())
        shown["without"] |= _known(every, layer.without_each)
    if compared:
        shown["permuted"] |= _of_domains(layer.permuted_EGP, slice(None))
    if compared and tested:
        few_resamples = slice(DISTINCT_RESAMPLES)
        shown["resampled"] |= _of_domains(layer.resampled_EGR, few_resamples)
        equal_EGR = layer.resampled_EGR * layer.equal_domains()[..., None]
        shown["null"] |= _of_domains(equal_EGR, few_resamples)
    return shown


def _of_domains(tokens_EGR: np.ndarray, distinct: slice) -> dict[str, np.ndarray | str]:
    """`distinct`: the resamples of distinct_share."""
    *others, last = DOMAIN_METRICS

    def figures() -> dict[str, np.ndarray]:
        return domain_figures(lambda of: tokens_EGR[of], tokens_EGR.sum(0), len(tokens_EGR))

    def of_distinct() -> dict[str, np.ndarray]:
        return {last.__name__: distinct_shares(tokens_EGR[..., distinct])}

    return _known(others, figures) | _known([last], of_distinct)


def _known(
    metrics: Sequence[Metric], figures: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray | str]:
    try:
        return {**figures()}
    except ValueError as refused:
        return dict.fromkeys([metric.__name__ for metric in metrics], str(refused))


def _values(shown: Shown, of: str, metric: Metric) -> np.ndarray:
    values = shown[of][metric.__name__]
    if isinstance(values, str):
        raise ValueError(values)
    if np.isnan(values).any():
        raise ValueError(one_domain())
    return values


def _figures(metric: Metric, layer: Layer, shown: Shown, *, few: str) -> dict[str, object]:
    of_domains = metric in DOMAIN_METRICS
    tokens = layer.counted()[None]
    estimate = metric(tokens if of_domains else tokens.sum(-1))
    if of_domains:
        observed, *_ = all_P = _values(shown, "permuted", metric)
        shown_P = all_P[1:]
        null = float(shown_P.mean())
    else:
        observed = estimate[0]
        null = float(metric(np.ones((1, tokens.shape[1])))[0])
    figures: dict[str, object] = {"estimate": estimate[0], "null": null}
    if metric is load.dead_experts:
        return figures | {"note": "no interval: texts drawn again choose no new expert"}
    if few:
        return figures | {"note": few}
    null_R = _values(shown, "null", metric)
    sign = -1 if metric is load.normalized_entropy else 1
    p = _rank_p(sign * observed, sign * (shown_P if of_domains else null_R))
    if of_domains:  # labels are exchangeable only where domains spread alike
        p = max(p, _rank_p(observed, null_R))
    if not (interval := _interval(metric, estimate, layer, shown, 0.0 if of_domains else null)):
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
    metric: Metric, estimate: np.ndarray, layer: Layer, shown: Shown, null: float
) -> dict[str, float]:
    """corrected, low, high; reaching: the share of resamples that the correction brings to the null
    or beyond, which labels permuted over groups of unlike spread cannot show."""
    power = 2 if metric in DISTANCES else 1
    resampled_R = _values(shown, "resampled", metric) ** power
    without_N = np.zeros(len(layer.domain_id_N))
    if metric is not specialization.distinct_share:
        without_N = _values(shown, "without", metric) ** power
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
