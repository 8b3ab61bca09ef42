"""A sum over groups divided by another, such as nats per token: how much another sample of groups
would change it.

N = groups, P = ratios of one size: experts, layers, models.
"""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from scipy import special

from analysis.bootstrap import CONFIDENCE
from analysis.groups import MIN_EFFECTIVE

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
    square_P: np.ndarray  # the sum of squares of what a group's amount differs from its size's
    number: int  # of groups
    size: float  # the sum below the line
    size_square: float  # the sum of squares of sizes
    size_variance: float  # of the sum

    @property
    def effective(self) -> float:
        """How many groups of one size tell as much: effective_number."""
        return self.size**2 / self.size_square if self.size_square > 0 else 0.0


def ratio(amount_NP: np.ndarray, size_N: np.ndarray) -> Ratio:
    """sum of amounts / sum of sizes, by the residuals of the groups (Woodruff 1971); NaN of none.

    A group that makes up a share h of the size pulls the ratio towards itself, so its squared
    residual is divided by 1 - 2 h + sum of h^2: unbiased where groups differ as wholes. The freedom
    is the smaller of two: what the sizes allow if amounts per size are normal (Bell and McCaffrey
    2002), and what the fourth powers of the residuals show.
    """
    return _Residuals.of(amount_NP, size_N).ratio()


def ratio_and_with_one_more(
    amount_NP: np.ndarray, size_N: np.ndarray, added_P: np.ndarray
) -> tuple[Ratio, Ratio]:
    """ratio(), and that of these groups and one of amounts added_P, whose size is their sum."""
    residuals = _Residuals.of(amount_NP, size_N)
    return residuals.ratio(), residuals.with_one_more(added_P)


@dataclass(frozen=True, slots=True)
class _Residuals:
    """Of amounts from the ratio times the size, their squares and fourth powers [N, P]."""

    size_N: np.ndarray
    amount_P: np.ndarray  # of all groups
    residual_NP: np.ndarray
    square_NP: np.ndarray
    fourth_NP: np.ndarray

    @classmethod
    def of(cls, amount_NP: np.ndarray, size_N: np.ndarray) -> "_Residuals":
        size_N, amount_P = size_N.astype(np.float64), amount_NP.sum(0)
        residual_NP = amount_NP - size_N[:, None] * (amount_P / max(size_N.sum(), 1e-300))
        square_NP = residual_NP**2
        return cls(size_N, amount_P, residual_NP, square_NP, square_NP**2)

    def ratio(self) -> Ratio:
        weight_N = 1 / _kept(self.size_N)
        square_P, sum_P = np.stack([np.ones_like(weight_N), weight_N]) @ self.square_NP
        return _ratio(self.size_N, self.amount_P, square_P, sum_P, weight_N**2 @ self.fourth_NP)

    def with_one_more(self, added_P: np.ndarray) -> Ratio:
        """Its residuals are these, less the size times what the ratio moves by: powers of sums."""
        size_N = np.append(self.size_N, added_P.sum())
        amount_P = self.amount_P + added_P
        ratio_P = amount_P / max(size_N.sum(), 1e-300)
        moved_P = ratio_P - self.amount_P / max(self.size_N.sum(), 1e-300)
        weight_N = 1 / _kept(size_N)
        own_P = (added_P - size_N[-1] * ratio_P) ** 2
        of_N, own_weight, weight_N = self.size_N, weight_N[-1], weight_N[:-1]
        weights = np.stack([np.ones_like(of_N), weight_N, (weight_N * of_N) ** 2])
        square_P, weighted_P, by_size_P = weights @ self.square_NP
        weights = np.stack([of_N, weight_N * of_N, weight_N**2 * of_N**3])
        linear_P, weighted_linear_P, cubed_P = weights @ self.residual_NP
        third_P = (weight_N**2 * of_N) @ (self.square_NP * self.residual_NP)
        fourth_P = (
            weight_N**2 @ self.fourth_NP
            - 4 * moved_P * third_P
            + 6 * moved_P**2 * by_size_P
            - 4 * moved_P**3 * cubed_P
            + moved_P**4 * (weight_N**2 * of_N**4).sum()
        )
        square_P += moved_P**2 * (of_N**2).sum() - 2 * moved_P * linear_P
        weighted_P += moved_P**2 * (weight_N * of_N**2).sum() - 2 * moved_P * weighted_linear_P
        return _ratio(
            size_N,
            amount_P,
            square_P + own_P,
            weighted_P + own_weight * own_P,
            fourth_P + (own_weight * own_P) ** 2,
        )


def _kept(size_N: np.ndarray) -> np.ndarray:
    share_N = size_N / max(size_N.sum(), 1e-300)
    return np.maximum(1 - 2 * share_N + (share_N**2).sum(), 1e-12)


def _ratio(
    size_N: np.ndarray,
    amount_P: np.ndarray,
    square_P: np.ndarray,
    sum_P: np.ndarray,
    fourth_P: np.ndarray,
) -> Ratio:
    """From the sum of the squares of the residuals, as they are and weighted, and that of the
    squares of the weighted ones."""
    total, number = max(size_N.sum(), 1e-300), len(size_N)
    sum_P = np.maximum(sum_P, 0)
    spread_P = fourth_P / np.maximum(sum_P**2, 1e-300) - 1 / max(number, 1)
    size_freedom = _size_freedom(size_N, _kept(size_N))
    freedom_P = np.minimum(size_freedom, 2 / np.maximum(spread_P, 1e-9))
    alone = number < 2 or not size_N.any()
    unknown_P = np.full(amount_P.shape, np.nan)
    return Ratio(
        estimate_P=amount_P / total if size_N.any() else unknown_P,
        variance_P=unknown_P if alone else sum_P / total**2,
        freedom_P=np.maximum(freedom_P, 1.0),
        size_freedom=max(size_freedom, 1.0),
        square_P=square_P,
        number=number,
        size=float(size_N.sum()),
        size_square=float((size_N**2).sum()),
        size_variance=0.0 if alone else float(size_N.var(ddof=1) * number),
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


def ratio_intervals(of: Ratio) -> dict[str, np.ndarray]:
    """estimate, low, high of the ratios of one stratum [P], as ratio_interval() of each."""
    known_P = of.variance_P > (ROUNDING * of.estimate_P) ** 2
    variance_P = np.where(known_P & (of.effective >= MIN_EFFECTIVE), of.variance_P, np.nan)
    reach_P = special.stdtrit(of.freedom_P, (1 + CONFIDENCE) / 2) * np.sqrt(variance_P)
    low_P, high_P = of.estimate_P - reach_P, of.estimate_P + reach_P
    return {"estimate": of.estimate_P, "low": low_P, "high": high_P}


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
    reach = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * np.sqrt(variance))
    return Interval(estimate=estimate, low=estimate - reach, high=estimate + reach)


def share_interval(
    amount_N: np.ndarray, size_N: np.ndarray, domain_id_N: np.ndarray | None = None
) -> Interval:
    """ratio_interval() of a share, whose ends are none beyond 0 and 1."""
    of = ratio_interval(amount_N, size_N, domain_id_N)
    low, high = np.clip([of["low"], of["high"]], 0, 1)
    return Interval(estimate=of["estimate"], low=float(low), high=float(high))


def ratio_interval_of_each(
    amount_NP: np.ndarray, size_N: np.ndarray, domain_id_N: np.ndarray
) -> dict[str, np.ndarray]:
    """estimate, low, high [P]: ratio_interval() of amounts that have the sizes in common; of one
    domain as ratio_intervals()."""
    total = max(float(size_N.sum()), 1e-300)
    groups = [domain_id_N == domain_id for domain_id in np.unique(domain_id_N[size_N > 0])]
    parts = [ratio(amount_NP[of_N], size_N[of_N]) for of_N in groups]
    if len(parts) == 1:
        return ratio_intervals(parts[0])
    estimate_P = amount_NP.sum(0) / total if parts else np.full(amount_NP.shape[1], np.nan)
    variance_P, square_P = np.zeros((2, amount_NP.shape[1]))
    for part in parts:
        of_whole_P = part.variance_P * (part.size / total) ** 2
        variance_P += of_whole_P
        square_P += of_whole_P**2 / part.freedom_P
    known_P = variance_P > (ROUNDING * estimate_P) ** 2
    freedom_P = np.divide(variance_P**2, square_P, out=np.ones_like(square_P), where=square_P > 0)
    known_P &= freedom_P >= MIN_FREEDOM
    error_P = np.sqrt(np.where(known_P, variance_P, np.nan))
    reach_P = special.stdtrit(freedom_P, (1 + CONFIDENCE) / 2) * error_P
    return {"estimate": estimate_P, "low": estimate_P - reach_P, "high": estimate_P + reach_P}


def share_interval_of_each(
    amount_NP: np.ndarray, size_N: np.ndarray, domain_id_N: np.ndarray
) -> dict[str, np.ndarray]:
    """ratio_interval_of_each() of shares, whose ends are none beyond 0 and 1."""
    of = ratio_interval_of_each(amount_NP, size_N, domain_id_N)
    return {name: np.clip(end_P, 0, 1) for name, end_P in of.items()}


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
