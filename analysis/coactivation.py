"""Which experts are chosen together, and which follow one another.

E = routed experts, k = chosen per token. pairs_EE counts the tokens that chose both: symmetric,
zero diagonal. Every function takes leading axes too: pairs_LEE with tokens_LE.
"""

import numpy as np


def coactivation_rate(pairs_EE: np.ndarray, tokens_E: np.ndarray) -> np.ndarray:
    """P(column chosen | row chosen) [E, E]; null (k - 1) / (E - 1); NaN for a dead expert's row."""
    rate = np.full(pairs_EE.shape, np.nan)
    np.divide(pairs_EE, tokens_E[..., :, None], out=rate, where=tokens_E[..., :, None] > 0)
    return _without_diagonal(rate)


def coactivation_lift(pairs_EE: np.ndarray, tokens_E: np.ndarray, num_tokens: int) -> np.ndarray:
    """P(both) / (P(row) P(column)) [E, E]; NaN on the diagonal and for dead experts."""
    both = pairs_EE.astype(float) * num_tokens
    independent = tokens_E[..., :, None].astype(float) * tokens_E[..., None, :]
    lift = np.full(pairs_EE.shape, np.nan)
    np.divide(both, independent, out=lift, where=independent > 0)
    return _without_diagonal(lift)


def coactivation_null(num_experts: int, top_k: int) -> float:
    """Lift of any pair when k of E are chosen uniformly: (k-1) E / (k (E-1))."""
    if not 1 <= top_k <= num_experts or num_experts < 2:
        raise ValueError(
            f"pairs need 1 <= top_k ({top_k}) <= num_experts ({num_experts}), and 2 experts"
        )
    return (top_k - 1) * num_experts / (top_k * (num_experts - 1))


def coactivation_rate_null(num_experts: int, top_k: int) -> float:
    """P(b | a) of any pair when k of E are chosen uniformly: (k-1) / (E-1)."""
    return coactivation_null(num_experts, top_k) * top_k / num_experts


def varying_coactivation_null(
    pairs_EE: np.ndarray, tokens_E: np.ndarray, num_tokens: int
) -> np.ndarray:
    """coactivation_null where k varies: the counts hold the sums of k and of k (k - 1)."""
    num_experts = pairs_EE.shape[-1]
    pairs = pairs_EE.sum((-2, -1)).astype(float)  # sum of k (k - 1)
    choices = tokens_E.sum(-1).astype(float)  # sum of k
    if (choices == 0).any() or num_experts < 2:
        raise ValueError("no routed tokens, or one expert; capture a trace with tokens")
    return pairs * num_tokens * num_experts / (choices**2 * (num_experts - 1))


def transition_probability(tokens_EE: np.ndarray) -> np.ndarray:
    """Share of each next expert among the choices that follow an expert [E, E]; null 1 / E."""
    followed = tokens_EE.sum(-1, keepdims=True)
    share = np.full(tokens_EE.shape, np.nan)
    return np.divide(tokens_EE, followed, out=share, where=followed > 0)


def transition_lift(tokens_EE: np.ndarray) -> np.ndarray:
    """n_ab over what the loads of both layers give, n_a n_b / n [E, E]; NaN for dead experts."""
    followed, led = tokens_EE.sum(-1, keepdims=True), tokens_EE.sum(-2, keepdims=True)
    independent = followed.astype(float) * led
    lift = np.full(tokens_EE.shape, np.nan)
    total = tokens_EE.astype(float) * tokens_EE.sum((-2, -1), keepdims=True)
    return np.divide(total, independent, out=lift, where=independent > 0)


def _without_diagonal(matrix_EE: np.ndarray) -> np.ndarray:
    num_experts = matrix_EE.shape[-1]
    matrix_EE[..., np.arange(num_experts), np.arange(num_experts)] = np.nan
    return matrix_EE
