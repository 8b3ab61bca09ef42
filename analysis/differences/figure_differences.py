"""What differs between the layers of two samples of groups of texts: figures that are no ratios, by
resampling.

N = groups, L = MoE layers, E = routed experts, G = domains, R = resamples.
"""

import numpy as np
import pandas as pd
from scipy import special

from analysis.bootstrap import CONFIDENCE, basic_interval, resampled_loads
from analysis.differences.differences import ALIKE, Sample, by_domain
from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH, effective_number
from analysis.layers import in_threads
from analysis.permutation import adjusted
from analysis.ratios import MIN_FREEDOM
from analysis.resampled_figures import domain_figures, load_figures

SAME = 1e-6  # of float32
COLUMNS = ("layer_id", "metric", "first", "second", "estimate", "low", "high", "p", "note")


def figure_differences(
    first: Sample,
    second: Sample,
    *,
    paired: bool,
    num_domains: int,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a layer and figure of load and of information about the domain: layer_id, metric,
    first, second (as counted), estimate, low, high (second - first, less what resampling adds to
    it, 95 % by bootstrap), p, q (over the layers of the figure), note. Pairs are drawn together."""
    samples = (first, second)
    loads = [
        resampled_loads(
            of.tokens_NLE, of.domain_id_N, num_domains=num_domains, seed=seed + place * (not paired)
        )
        for place, of in enumerate(samples)
    ]
    effective = min(effective_number(of.tokens_NLE.sum((1, 2), dtype=np.int64)) for of in samples)
    freedom = effective - max(len(np.unique(of.domain_id_N)) for of in samples)
    few = effective < MIN_EFFECTIVE or freedom < MIN_FREEDOM

    def of_layer(layer_id: int) -> list[dict[str, object]]:
        counted, resampled = [], []
        for of, of_resamples in zip(samples, loads, strict=True):
            tokens_EGR = of_resamples(layer_id)[: of.experts_L[layer_id]]
            tokens_EG = by_domain(of.layer(layer_id), num_domains).astype(np.float32)
            counted.append(_figures(tokens_EG[..., None]))
            resampled.append(_figures(tokens_EGR))
        rows = []
        for metric in counted[0]:
            if any(metric not in of for of in (*counted, *resampled)):
                continue
            first, second = (float(of[metric][0]) for of in counted)
            moved_R = resampled[1][metric] - resampled[0][metric]
            row = _resampled_row(first, second, moved_R, effective, freedom, few=few)
            rows.append({"layer_id": layer_id, "metric": metric} | row)
        return rows

    rows = [row for rows in in_threads(of_layer, len(first.experts_L)) for row in rows]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    place = list(frame.columns).index("p") + 1
    frame.insert(place, "q", frame.groupby("metric").p.transform(adjusted))
    return frame


def _figures(tokens_EGR: np.ndarray) -> dict[str, np.ndarray]:
    """Of loads and, where there are several domains, of information [R]; NaN of no tokens."""
    size_GR = tokens_EGR.sum(0)
    if not size_GR.sum(0).all():
        return {}
    figures = load_figures(tokens_EGR.sum(1).T)
    if (size_GR.sum(-1) > 0).sum() > 1:
        figures |= domain_figures(lambda of: tokens_EGR[of], size_GR, len(tokens_EGR))
    return figures


def _resampled_row(
    first: float,
    second: float,
    moved_R: np.ndarray,
    effective: float,
    freedom: float,
    *,
    few: bool,
) -> dict[str, object]:
    estimate = second - first
    row: dict[str, object] = {"first": first, "second": second, "estimate": estimate}
    row |= {"low": np.nan, "high": np.nan, "p": np.nan, "note": ""}
    spread = float(np.std(moved_R, ddof=1))
    if few or np.isnan(spread):
        return row | {"note": NOT_ENOUGH if few else ""}
    if spread <= SAME * max(abs(first), abs(second), SAME):
        return row | {"p": 1.0 if abs(estimate) < SAME else np.nan, "note": ALIKE}
    wider = np.sqrt(effective / freedom)  # resamples spread less than samples do
    quantile = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * wider)
    low, high = basic_interval(moved_R, np.array(estimate), quantile)
    corrected = 2 * estimate - float(np.mean(moved_R))
    p = 2 * special.stdtr(freedom, -abs(corrected) / (spread * wider))
    return row | {"estimate": corrected, "low": float(low), "high": float(high), "p": float(p)}
