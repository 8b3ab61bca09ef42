"""Choosing k of E experts with given weights: the maximum-entropy law with fixed loads.

A set S of k experts has a chance proportional to the product of its weights (conditional Bernoulli
sampling: Chen, Dempster and Liu 1994). Of all laws that keep the number chosen and every expert's
mean load it prefers nothing else, so independent tokens under it are the null of pairs.

E = routed experts, V = values of k that occur, P = pairs a < b, J = degrees 0 to the largest k.
"""

from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-9  # of a mean load, in tokens per token
MAX_STEPS = 5_000
MAX_PRODUCTS = 10**10  # of the law's polynomials: about two minutes
NUMBERS_AT_ONCE = 2**24  # in an array: bounds memory


@dataclass(frozen=True, slots=True)
class FixedLoads:
    """Chances under the law, and how a pair's count follows the loads around them."""

    single_VE: np.ndarray  # of an expert
    pair_VP: np.ndarray  # of both
    slope_PE: np.ndarray  # regression of a pair's count on the loads
    variance_P: np.ndarray  # of a pair's count over all tokens, loads held fixed


def feasible(num_experts: int, most_k: int) -> bool:
    """Whether the law is computed in reasonable time: the products grow as E³ k²."""
    return num_experts**3 * most_k**2 / 4 <= MAX_PRODUCTS


def fixed_loads(tokens_E: np.ndarray, *, k_V: np.ndarray, tokens_V: np.ndarray) -> FixedLoads:
    """The law whose mean loads are tokens_E, when tokens_V tokens choose k_V experts.

    Loads must lie strictly between 0 and the number of tokens.
    """
    weights_E = _fit(tokens_E, k_V=k_V, tokens_V=tokens_V)
    single_VE = _single(weights_E, k_V)
    pair_VP, triple_PE = _pairs(weights_E, k_V=k_V, tokens_V=tokens_V)
    covariance_PE = triple_PE - (tokens_V[:, None] * pair_VP).T @ single_VE
    slope_PE = covariance_PE @ np.linalg.pinv(_covariance(single_VE, pair_VP, tokens_V))
    free_P = tokens_V @ (pair_VP * (1 - pair_VP))
    variance_P = np.maximum(free_P - (slope_PE * covariance_PE).sum(-1), 0.0)
    return FixedLoads(single_VE, pair_VP, slope_PE, variance_P)


def _fit(tokens_E: np.ndarray, *, k_V: np.ndarray, tokens_V: np.ndarray) -> np.ndarray:
    """Weights by iterative scaling: each is multiplied by its load over its expected load."""
    share_E = tokens_E / tokens_V.sum()
    weights_E = share_E / (1 - share_E)
    for _ in range(MAX_STEPS):
        expected_E = tokens_V @ _single(weights_E, k_V) / tokens_V.sum()
        if np.abs(expected_E - share_E).max() < TOLERANCE:
            break
        weights_E = weights_E * share_E / expected_E
        weights_E /= np.exp(np.log(weights_E).mean())
    return weights_E


def _single(weights_E: np.ndarray, k_V: np.ndarray) -> np.ndarray:
    all_J, others_EJ = _polynomials(weights_E[None], k_V.max())
    return (
        np.where(k_V[:, None] > 0, weights_E * others_EJ[0][:, k_V - 1].T, 0) / all_J[0, k_V, None]
    )


def _pairs(
    weights_E: np.ndarray, *, k_V: np.ndarray, tokens_V: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Chance of every pair, and the expected tokens of every pair together with every expert."""
    first_P, second_P = np.triu_indices(len(weights_E), 1)
    total_V = _polynomials(weights_E[None], k_V.max())[0][0, k_V]
    pair_VP = np.zeros((len(k_V), len(first_P)))
    triple_PE = np.zeros((len(first_P), len(weights_E)))
    at_once = max(1, NUMBERS_AT_ONCE // (len(weights_E) * (int(k_V.max()) + 1)))
    for start in range(0, len(first_P), at_once):
        chunk = slice(start, start + at_once)
        a_P, b_P = first_P[chunk], second_P[chunk]
        row_P = np.arange(len(a_P))
        rest_PE = np.tile(weights_E, (len(a_P), 1))
        rest_PE[row_P, a_P] = rest_PE[row_P, b_P] = 0
        rest_PJ, others_PEJ = _polynomials(rest_PE, k_V.max())
        both_P = weights_E[a_P] * weights_E[b_P]
        for v, k in enumerate(k_V):
            if k < 2:
                continue
            pair_VP[v, chunk] = pair_P = both_P * rest_PJ[:, k - 2] / total_V[v]
            if k > 2:
                third_PE = both_P[:, None] * rest_PE * others_PEJ[..., k - 3] / total_V[v]
                triple_PE[chunk] += tokens_V[v] * third_PE
            triple_PE[start + row_P, a_P] += tokens_V[v] * pair_P
            triple_PE[start + row_P, b_P] += tokens_V[v] * pair_P
    return pair_VP, triple_PE


def _covariance(single_VE: np.ndarray, pair_VP: np.ndarray, tokens_V: np.ndarray) -> np.ndarray:
    """Of the loads of all tokens."""
    num_experts = single_VE.shape[-1]
    both_EE = np.zeros((num_experts, num_experts))
    both_EE[np.triu_indices(num_experts, 1)] = tokens_V @ pair_VP
    both_EE += both_EE.T + np.diag(tokens_V @ single_VE)
    return both_EE - (tokens_V[:, None] * single_VE).T @ single_VE


def _polynomials(weights_PE: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Elementary symmetric polynomials of each row [P, J], and without each expert [P, E, J].

    Products of what lies before and after an expert: sums of positive terms, so nothing cancels.
    """
    num_rows, num_experts = weights_PE.shape
    before = np.zeros((num_experts + 1, num_rows, degree + 1))
    after = np.zeros_like(before)
    before[0, :, 0] = after[-1, :, 0] = 1
    for e in range(num_experts):
        before[e + 1] = _times(before[e], weights_PE[:, e])
    for e in reversed(range(num_experts)):
        after[e] = _times(after[e + 1], weights_PE[:, e])
    others = np.zeros((num_experts, num_rows, degree + 1))
    for j in range(degree + 1):
        others[..., j:] += before[:-1, :, j, None] * after[1:, :, : degree + 1 - j]
    return before[-1], others.swapaxes(0, 1)


def _times(polynomial_PJ: np.ndarray, weight_P: np.ndarray) -> np.ndarray:
    """Multiplied by 1 + weight z."""
    product_PJ = polynomial_PJ.copy()
    product_PJ[:, 1:] += weight_P[:, None] * polynomial_PJ[:, :-1]
    return product_PJ
