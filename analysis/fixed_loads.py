"""Choosing k of E experts with given weights: the maximum-entropy law with fixed loads.

A set S of k experts has a chance proportional to the product of its weights (conditional Bernoulli
sampling: Chen, Dempster and Liu 1994). Of all laws that keep the number chosen and every expert's
mean load it prefers nothing else, so independent tokens under it are the null of pairs.

E = routed experts, V = values of k that occur, P = pairs a < b, J = degrees 0 to the largest k,
Z = points on circles around 0, F = vectors of loads.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

TOLERANCE = 1e-9  # of a mean load, in tokens per token
QUICK_STEPS = 20  # of the fit, of a few operations an expert and value of k
MAX_STEPS = 300
TINY = 1e-300  # for a chance that rounding makes 0 or less
FLAT = 1e-14  # of a covariance: a direction in which nothing varies
MAX_NUMBERS = 2**24  # of the law's pairs, P times F: bounds memory
REACH = 4  # standard deviations of the number chosen that one circle serves
ROUNDING = 1e-10  # of a number of tokens: where k is fixed, so is the sum of the loads
DIGITS = 50  # e to this power is beyond what is lost between the points of a circle


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedLoads:
    """Chances under the law, and how a pair's count goes along with the loads.

    The covariances of a pair's count with the loads are part_FP of the vectors base_FE and two
    amounts of its own: own_2P for a and for b.
    """

    single_VE: np.ndarray  # of an expert
    pair_VP: np.ndarray  # of both
    base_FE: np.ndarray
    part_FP: np.ndarray
    own_2P: np.ndarray
    inverse_EE: np.ndarray  # of the covariance of the loads
    variance_P: np.ndarray  # of a pair's count over all tokens, loads held fixed


def square_sums(part_FP: np.ndarray, own_2P: np.ndarray, gram_XX: np.ndarray) -> np.ndarray:
    """The square of every pair's sum of F vectors and of those of a and b, whose products are
    gram_XX: the F vectors first, then one an expert."""
    num_base = len(part_FP)
    a_P, b_P = np.triu_indices(len(gram_XX) - num_base, 1)
    by_own_FE, own_EE = gram_XX[:num_base, num_base:], gram_XX[num_base:, num_base:]
    square_P = np.einsum("fp,fp->p", part_FP, gram_XX[:num_base, :num_base] @ part_FP)
    for own_P, of_P in zip(own_2P, (a_P, b_P), strict=True):
        square_P += 2 * own_P * np.einsum("fp,fp->p", part_FP, by_own_FE[:, of_P])
        square_P += own_P**2 * own_EE[of_P, of_P]
    return square_P + 2 * own_2P[0] * own_2P[1] * own_EE[a_P, b_P]


def feasible(num_experts: int, k_V: np.ndarray) -> bool:
    """Whether the law of so many fits in memory; equal weights need the most points."""
    num_points = sum(len(circle.angle_Z) for circle in _circles(np.ones(num_experts), k_V))
    num_vectors = 2 * num_points + len(k_V)
    return num_experts * (num_experts - 1) // 2 * num_vectors <= MAX_NUMBERS


def fixed_loads(tokens_E: np.ndarray, *, k_V: np.ndarray, tokens_V: np.ndarray) -> FixedLoads:
    """The law whose mean loads are tokens_E, when tokens_V tokens choose k_V experts.

    Loads must lie strictly between 0 and the number of tokens. The chance of two or three experts
    is a coefficient of a product of polynomials, which Cauchy's integral over a circle gives: a sum
    over its points of products of one factor an expert.
    """
    weights_E = _fit(tokens_E, k_V=k_V, tokens_V=tokens_V)
    single_VE = _single(weights_E, k_V)
    a_P, b_P = np.triu_indices(len(weights_E), 1)
    pair_VP = _pairs(weights_E, k_V)
    base, part = [-single_VE], []
    own_2P = np.zeros((2, len(a_P)))
    for circle in _circles(weights_E, k_V):
        factor_ZE, chance_VZ = circle.factors(weights_E), circle.chances(weights_E, k_V)
        both_ZP = factor_ZE[:, a_P] * factor_ZE[:, b_P]
        several_V = circle.of_V & (k_V > 1)
        both_ZP *= (tokens_V[several_V] @ chance_VZ[several_V])[:, None]
        base += [factor_ZE.real, factor_ZE.imag]
        part += [both_ZP.real, -both_ZP.imag]
        own_2P -= [(both_ZP * factor_ZE[:, of_P]).real.sum(0) for of_P in (a_P, b_P)]
    own_2P += tokens_V @ pair_VP
    base_FE = np.concatenate(base)
    part_FP = np.concatenate([tokens_V[:, None] * pair_VP, *part])
    inverse_EE = _inverse(_covariance(single_VE, pair_VP, tokens_V), ROUNDING * tokens_V.sum())
    both_XE = np.vstack([base_FE, np.eye(len(weights_E))])
    free_P = tokens_V @ (pair_VP * (1 - pair_VP))
    left_P = free_P - square_sums(part_FP, own_2P, both_XE @ inverse_EE @ both_XE.T)
    return FixedLoads(
        single_VE=single_VE,
        pair_VP=pair_VP,
        base_FE=base_FE,
        part_FP=part_FP,
        own_2P=own_2P,
        inverse_EE=inverse_EE,
        variance_P=np.where(left_P > ROUNDING * (tokens_V @ pair_VP), left_P, 0.0),
    )


@dataclass(frozen=True, slots=True)
class _Circle:
    """Serves some values of k: near the mean number chosen when every expert is chosen by itself,
    with odds of its weight times the radius."""

    radius: float
    angle_Z: np.ndarray  # of the upper half: the lower one is its mirror image
    of_V: np.ndarray

    def factors(self, weights_E: np.ndarray) -> np.ndarray:
        """w z / (1 + w z) [Z, E]; an even number of points leaves out the poles."""
        odds_ZE = np.exp(1j * self.angle_Z)[:, None] * (self.radius * weights_E)
        return odds_ZE / (1 + odds_ZE)

    def chances(self, weights_E: np.ndarray, k_V: np.ndarray) -> np.ndarray:
        """What the factors are to be multiplied by [V, Z]: they add up to 1."""
        odds_ZE = np.exp(1j * self.angle_Z)[:, None] * (self.radius * weights_E)
        product_Z = np.exp((np.log1p(odds_ZE) - np.log1p(np.abs(odds_ZE))).sum(-1))
        chance_VZ = product_Z * np.exp(-1j * np.multiply.outer(k_V, self.angle_Z))
        with np.errstate(divide="ignore", invalid="ignore"):  # of k that it does not serve
            return chance_VZ / chance_VZ.real.sum(-1, keepdims=True)


def _circles(weights_E: np.ndarray, k_V: np.ndarray) -> list[_Circle]:
    """As few as serve all k, which ascend; what lies a circle's number of points from k is left out
    by it, and is less than rounding."""
    circles: list[_Circle] = []
    first = 0
    while first < len(k_V):
        last = first
        radius, deviation = _radius(weights_E, k_V[first])
        while last + 1 < len(k_V):
            wider = _radius(weights_E, (k_V[first] + k_V[last + 1]) / 2)
            if k_V[last + 1] - k_V[first] > 2 * REACH * wider[1]:
                break
            last, (radius, deviation) = last + 1, wider
        reach = (k_V[last] - k_V[first]) / 2
        apart = DIGITS / 3 + np.sqrt((DIGITS / 3) ** 2 + 2 * DIGITS * deviation**2)  # Bernstein
        half = int(np.ceil(min(reach + apart, len(weights_E) + 1) / 2))
        angle_Z = np.pi * (np.arange(half) + 0.5) / half
        of_V = (np.arange(len(k_V)) >= first) & (np.arange(len(k_V)) <= last)
        circles.append(_Circle(radius, angle_Z, of_V))
        first = last + 1
    return circles


def _radius(weights_E: np.ndarray, mean: float) -> tuple[float, float]:
    """At which so many are chosen on average, and the standard deviation of their number."""
    mean = min(max(mean, 0.5), len(weights_E) - 0.5)
    low, high = -np.log(weights_E.max()) - 50, -np.log(weights_E.min()) + 50
    for _ in range(60):
        middle = (low + high) / 2
        chance_E = special.expit(np.log(weights_E) + middle)
        low, high = (middle, high) if chance_E.sum() < mean else (low, middle)
    return float(np.exp(middle)), float(np.sqrt((chance_E * (1 - chance_E)).sum()))


def _fit(tokens_E: np.ndarray, *, k_V: np.ndarray, tokens_V: np.ndarray) -> np.ndarray:
    """Weights whose mean loads these are. By the odds of each expert as if the others stayed, and
    where these follow too slowly by Newton's method; a step that leads away is halved."""
    total = tokens_V.sum()
    share_E = tokens_E / total
    log_E, single_VE, apart_E = _tried(special.logit(share_E), share_E, k_V, tokens_V)
    length = 1.0
    for step in range(MAX_STEPS):
        if np.abs(apart_E).max() < TOLERANCE:
            break
        if step < QUICK_STEPS:
            expected_E = np.clip(share_E - apart_E, TINY, None)
            move_E = special.logit(share_E) - special.logit(expected_E)
        else:
            pair_VP = _pairs(np.exp(log_E), k_V)
            covariance_EE = _covariance(single_VE, pair_VP, tokens_V) / total
            move_E = _inverse(covariance_EE, FLAT) @ apart_E
        tried = _tried(log_E + length * move_E, share_E, k_V, tokens_V)
        if _distance(tried[-1], share_E) < _distance(apart_E, share_E):
            log_E, single_VE, apart_E = tried
            length = min(1.0, 2 * length)
        else:
            length /= 2
    return np.exp(log_E)


def _tried(
    log_E: np.ndarray, share_E: np.ndarray, k_V: np.ndarray, tokens_V: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logarithms of weights, the chances they give, and how far from the shares that is."""
    log_E = log_E - log_E.mean()
    with np.errstate(all="ignore"):  # of a step too long, which leads nowhere
        single_VE = _single(np.exp(log_E), k_V)
        return log_E, single_VE, share_E - tokens_V @ single_VE / tokens_V.sum()


def _distance(apart_E: np.ndarray, share_E: np.ndarray) -> float:
    distance = float((apart_E**2 / (share_E * (1 - share_E))).sum())
    return distance if np.isfinite(distance) else np.inf


def _pairs(weights_E: np.ndarray, k_V: np.ndarray) -> np.ndarray:
    """Chances of both [V, P]."""
    a_P, b_P = np.triu_indices(len(weights_E), 1)
    pair_VP = np.zeros((len(k_V), len(a_P)))
    for circle in _circles(weights_E, k_V):
        factor_ZE, chance_VZ = circle.factors(weights_E), circle.chances(weights_E, k_V)
        several_V = circle.of_V & (k_V > 1)
        both_ZP = factor_ZE[:, a_P] * factor_ZE[:, b_P]
        pair_VP[several_V] = (chance_VZ[several_V] @ both_ZP).real
    return pair_VP


def _single(weights_E: np.ndarray, k_V: np.ndarray) -> np.ndarray:
    all_J, others_EJ = _polynomials(weights_E, int(k_V.max()))
    return np.where(k_V[:, None] > 0, weights_E * others_EJ[:, k_V - 1].T, 0) / all_J[k_V, None]


def _covariance(single_VE: np.ndarray, pair_VP: np.ndarray, tokens_V: np.ndarray) -> np.ndarray:
    """Of the loads of all tokens."""
    num_experts = single_VE.shape[-1]
    both_EE = np.zeros((num_experts, num_experts))
    both_EE[np.triu_indices(num_experts, 1)] = tokens_V @ pair_VP
    both_EE += both_EE.T + np.diag(tokens_V @ single_VE)
    return both_EE - (tokens_V[:, None] * single_VE).T @ single_VE


def _inverse(covariance_EE: np.ndarray, least: float) -> np.ndarray:
    """In the directions that vary by more than rounding."""
    variance_E, direction_EE = np.linalg.eigh(covariance_EE)
    varies_E = variance_E > least
    inverse_E = np.divide(1, variance_E, out=np.zeros(len(variance_E)), where=varies_E)
    return (direction_EE * inverse_E) @ direction_EE.T


def _polynomials(weights_E: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Elementary symmetric polynomials [J], and without each expert [E, J].

    Products of what lies before and after an expert: sums of positive terms, so nothing cancels.
    """
    num_experts = len(weights_E)
    before = np.zeros((num_experts + 1, degree + 1))
    after = np.zeros_like(before)
    before[0, 0] = after[-1, 0] = 1
    for e in range(num_experts):
        before[e + 1] = _times(before[e], weights_E[e])
    for e in reversed(range(num_experts)):
        after[e] = _times(after[e + 1], weights_E[e])
    others = np.zeros((num_experts, degree + 1))
    for j in range(degree + 1):
        others[:, j:] += before[:-1, j, None] * after[1:, : degree + 1 - j]
    return before[-1], others


def _times(polynomial_J: np.ndarray, weight: float) -> np.ndarray:
    """Multiplied by 1 + weight z."""
    product_J = polynomial_J.copy()
    product_J[1:] += weight * polynomial_J[:-1]
    return product_J
