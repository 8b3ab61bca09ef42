"""How much every document moves a lift: standard errors and skewness without resampling.

N = documents, E = routed experts, G = domains. log2 lift of an expert and a domain is
log2(observed choices / choices expected from the expert's load).
"""

import numpy as np
from scipy import stats

HALF_CHOICE = 0.5  # added to observed and expected: a lift of 0 has a logarithm


def log_lift(tokens_EG: np.ndarray) -> np.ndarray:
    """log2 lift [..., E, G], half a choice added to both counts (Noren et al. 2013); NaN for dead
    experts and empty domains."""
    tokens_E1 = tokens_EG.sum(-1, keepdims=True)
    tokens_1G = tokens_EG.sum(-2, keepdims=True)
    expected = tokens_E1 * (tokens_1G / np.maximum(tokens_1G.sum(-1, keepdims=True), 1))
    lift = np.log2((tokens_EG + HALF_CHOICE) / (expected + HALF_CHOICE))
    return np.where(expected > 0, lift, np.nan)


def lift_moments(tokens_NE: np.ndarray, member_NG: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over documents of the squared and the cubed influence on ln lift [E, G].

    A document moves the lift of its own domain through observed and expected, and the lift of
    other domains through expected alone; influences are centred within the domain.
    """
    load_N1 = tokens_NE.sum(-1, keepdims=True)
    tokens_GE = np.maximum(member_NG.T @ tokens_NE, HALF_CHOICE)
    load_G1 = np.maximum(member_NG.T @ load_N1, 1)
    expert_E = np.maximum(tokens_NE.sum(0), HALF_CHOICE)
    rest_NE = load_N1 / max(load_N1.sum(), 1) - tokens_NE / expert_E
    own_NE = tokens_NE * (member_NG @ (1 / tokens_GE)) - load_N1 * (member_NG @ (1 / load_G1))
    rest_NE = _centred(rest_NE, member_NG)
    own_NE = _centred(own_NE, member_NG) + rest_NE
    squares, cubes = (_with_rest(own_NE, rest_NE, member_NG, power) for power in (2, 3))
    return squares, cubes


def null_error(tokens_NE: np.ndarray, member_NG: np.ndarray) -> np.ndarray:
    """Standard error of an observed lift where the true one is 1 [E, G].

    The spread of a document's share of choices comes from the documents of all domains: the few
    of a small domain cannot tell their own.
    """
    load_N1 = tokens_NE.sum(-1, keepdims=True).astype(np.float64)
    load_1G = np.maximum(load_N1.T @ member_NG, 1)
    share_NE = member_NG @ (member_NG.T @ tokens_NE / load_1G.T)
    present = (member_NG.sum(0) > 0).sum()
    freedom = max(len(tokens_NE) - present, 1)
    squares_E = ((tokens_NE - load_N1 * share_NE) ** 2).sum(0) * len(tokens_NE) / freedom
    load_squares_1G = (load_N1**2).T @ member_NG
    domain_share_1G = load_1G / max(load_N1.sum(), 1)
    own = (1 - domain_share_1G) ** 2 * load_squares_1G
    rest = domain_share_1G**2 * (load_squares_1G.sum() - load_squares_1G)
    variance_EG = squares_E[:, None] * (own + rest) / max(load_squares_1G.sum(), 1)
    load_share_E1 = tokens_NE.sum(0)[:, None] / max(load_N1.sum(), 1)
    expected_EG = load_1G * load_share_E1
    return np.sqrt(variance_EG) / np.maximum(expected_EG, HALF_CHOICE)


def detectable_lift(
    error: np.ndarray, freedom: np.ndarray, *, level: float, power: float
) -> np.ndarray:
    """log2 of the smallest lift whose two-sided p is below level in a share power of traces."""
    multiple = stats.t.isf(level / 2, freedom) + stats.t.isf(1 - power, freedom)
    return np.log2(1 + multiple * error)


def _centred(influence_NE: np.ndarray, member_NG: np.ndarray) -> np.ndarray:
    documents_G1 = np.maximum(member_NG.sum(0), 1)[:, None]
    return influence_NE - member_NG @ (member_NG.T @ influence_NE / documents_G1)


def _with_rest(
    own_NE: np.ndarray, rest_NE: np.ndarray, member_NG: np.ndarray, power: int
) -> np.ndarray:
    """Own influences of a domain's documents, and the others' through the expected count."""
    own_EG, rest_EG = (own_NE**power).T @ member_NG, (rest_NE**power).T @ member_NG
    return own_EG + rest_EG.sum(-1, keepdims=True) - rest_EG
