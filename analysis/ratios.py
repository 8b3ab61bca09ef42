"""A sum over groups divided by another, such as nats per token: how much another sample of groups
would change it.

N = groups, P = ratios of one size: experts, layers, models.
"""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from scipy import stats

from analysis.bootstrap import CONFIDENCE
from analysis.groups import MIN_EFFECTIVE, effective_number

MIN_FREEDOM = 2  # of a figure over several domains: fewer leave the spread unknown
ROUNDING = 1e-9  # of a figure: a smaller error is that of float64, its groups are all alike


class Interval(TypedDict):
    """Of 95 %; the ends are NaN where too few groups were counted."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of one stratum, with the variance of its estimate and how well that is known."""

    estimate_P: np.ndarray
    variance_P: np.ndarray  # NaN of a single group and of nothing
    freedom_P: np.ndarray  # Satterthwaite's: so many observations tell the variance
    size_freedom: float  # what the sizes alone allow
    size: float  # the sum below the line
    size_variance: float  # of that sum
    effective: float  # number of groups


def ratio(amount_NP: np.ndarray, size_N: np.ndarray) -> Ratio:
    """sum of amounts / sum of sizes, by the residuals of the groups (Woodruff 1971); NaN of none.

    A group that makes up a share h of the size pulls the ratio towards itself, so its squared
    residual is divided by 1 - 2 h + sum of h^2: unbiased where groups differ as wholes. The freedom
    is the smaller of two: what the sizes allow if amounts per size are normal (Bell and McCaffrey
    2002), and what the fourth powers of the residuals show.
    """
    size_N = size_N.astype(np.float64)
    total, number = max(size_N.sum(), 1e-300), len(size_N)
    share_N = size_N / total
    kept_N = np.maximum(1 - 2 * share_N + (share_N**2).sum(), 1e-12)
    estimate_P = amount_NP.sum(0) / total
    squares_NP = (amount_NP - size_N[:, None] * estimate_P) ** 2 / kept_N[:, None]
    sum_P = squares_NP.sum(0)
    spread_P = (squares_NP**2).sum(0) / np.maximum(sum_P**2, 1e-300) - 1 / max(number, 1)
    size_freedom = _size_freedom(size_N, kept_N)
    freedom_P = np.minimum(size_freedom, 2 / np.maximum(spread_P, 1e-9))
    alone = number < 2 or not size_N.any()
    return Ratio(
        estimate_P=estimate_P if size_N.any() else np.full(estimate_P.shape, np.nan),
        variance_P=np.full(estimate_P.shape, np.nan) if alone else sum_P / total**2,
        freedom_P=np.maximum(freedom_P, 1.0),
        size_freedom=max(size_freedom, 1.0),
        size=float(size_N.sum()),
        size_variance=0.0 if alone else float(size_N.var(ddof=1) * number),
        effective=effective_number(size_N),
    )


def _size_freedom(size_N: np.ndarray, kept_N: np.ndarray) -> float:
    """2 E^2 / V of the sum of squares of `ratio`, where amount / size is normal and of one variance
    in all groups: (sum of w^2)^2 over the sum of squares of the quadratic form's matrix."""
    share_N = size_N / max(size_N.sum(), 1e-300)
    squares = (share_N**2).sum()
    weight_N = size_N**2 / kept_N
    sum_0, sum_1, sum_2 = (float((weight_N * share_N**power).sum()) for power in (0, 1, 2))
    off = squares**2 * sum_0**2 + 2 * sum_0 * sum_2 + 2 * sum_1**2 - 4 * squares * sum_0 * sum_1
    diagonal_N = (1 - 2 * share_N + squares) ** 2 - (squares - 2 * share_N) ** 2
    whole = off + float((weight_N**2 * diagonal_N).sum())
    return float((size_N**2).sum()) ** 2 / max(whole, 1e-300)


def ratio_interval(
    amount_N: np.ndarray, size_N: np.ndarray, domain_id_N: np.ndarray | None = None
) -> Interval:
    """Of the sum of amounts over the sum of sizes; groups are a sample within their domain, and how
    much of the whole a domain makes up is given.

    No ends where too few groups decide: of one domain an effective number below MIN_EFFECTIVE, of
    several a freedom below MIN_FREEDOM.
    """
    domain_id_N = np.zeros(len(size_N), int) if domain_id_N is None else domain_id_N
    estimate, variance, freedom = stratified_ratio(amount_N, size_N, domain_id_N)
    if np.isnan(variance):
        return Interval(estimate=estimate, low=np.nan, high=np.nan)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(variance))
    return Interval(estimate=estimate, low=estimate - reach, high=estimate + reach)


def stratified_ratio(
    amount_N: np.ndarray, size_N: np.ndarray, domain_id_N: np.ndarray
) -> tuple[float, float, float]:
    """The ratio, its variance (NaN where too few groups decide or all are alike), its freedom."""
    total = float(size_N.sum())
    if total == 0:
        return np.nan, np.nan, np.nan
    whole = float(amount_N.sum()) / total
    present = np.unique(domain_id_N[size_N > 0])
    parts = [
        ratio(amount_N[of_N, None], size_N[of_N])
        for of_N in (domain_id_N == domain_id for domain_id in present)
    ]
    variance_G = np.array([part.variance_P[0] * (part.size / total) ** 2 for part in parts])
    freedom_G = np.array([part.freedom_P[0] for part in parts])
    variance = float(variance_G.sum())
    if not variance > (ROUNDING * whole) ** 2:  # NaN: a domain of one group
        return whole, np.nan, np.nan
    freedom = float(variance**2 / (variance_G**2 / freedom_G).sum())
    enough = parts[0].effective >= MIN_EFFECTIVE if len(parts) == 1 else freedom >= MIN_FREEDOM
    return whole, variance if enough else np.nan, freedom
