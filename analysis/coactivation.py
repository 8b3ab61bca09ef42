"""Which experts are chosen together.

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


def coactivation_null(pairs_EE: np.ndarray, tokens_E: np.ndarray, num_tokens: int) -> np.ndarray:
    """Lift of any pair when each token chooses its k of E uniformly: (k-1) E / (k (E-1)) where k is
    fixed. The counts hold the sums of k and of k (k - 1)."""
    num_experts = pairs_EE.shape[-1]
    pairs = pairs_EE.sum((-2, -1)).astype(float)  # sum of k (k - 1)
    choices = tokens_E.sum(-1).astype(float)  # sum of k
    if (choices == 0).any() or num_experts < 2:
        raise ValueError("no routed tokens, or one expert; capture a trace with tokens")
    return pairs * num_tokens * num_experts / (choices**2 * (num_experts - 1))


def pairs_beyond_loads(pairs_EE: np.ndarray, tokens_E: np.ndarray) -> float:
    """Share of a layer's pairs that would have to be others for the loads to explain all of them:
    half of sum |share - expected share|, where expected is in proportion to the product of two
    loads. 0 to 1, a little above 0 by chance; NaN without pairs."""
    above = np.triu_indices(len(tokens_E), 1)
    pairs_P, expected_P = pairs_EE[above], np.multiply.outer(tokens_E, tokens_E)[above]
    if not pairs_P.any():
        return float("nan")
    return float(np.abs(pairs_P / pairs_P.sum() - expected_P / expected_P.sum()).sum() / 2)


def _without_diagonal(matrix_EE: np.ndarray) -> np.ndarray:
    num_experts = matrix_EE.shape[-1]
    matrix_EE[..., np.arange(num_experts), np.arange(num_experts)] = np.nan
    return matrix_EE
