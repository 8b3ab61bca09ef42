"""How evenly a layer spreads its tokens over its experts.

L = MoE layers, E = routed experts, G = domains. Every metric reads the last axis as the experts of
one layer: tokens_LE gives a number a layer, tokens_LGE one a layer and domain.
"""

import numpy as np


def load_imbalance(tokens_LE: np.ndarray) -> np.ndarray:
    """max / mean of each layer: 1 when balanced, E when one expert takes all."""
    return tokens_LE.max(-1) / _mean(tokens_LE)


def max_violation(tokens_LE: np.ndarray) -> np.ndarray:
    """MaxVio of each layer: max / mean - 1, 0 when balanced (arXiv 2408.15664)."""
    return load_imbalance(tokens_LE) - 1


def gini(tokens_LE: np.ndarray) -> np.ndarray:
    """Mean difference of two experts over twice the mean: 0 when balanced, 1 - 1/E at most."""
    num_experts = tokens_LE.shape[-1]
    place_E = 2 * np.arange(1, num_experts + 1) - num_experts - 1
    return (np.sort(tokens_LE, -1) * place_E).sum(-1) / (num_experts**2 * _mean(tokens_LE))


def coefficient_of_variation(tokens_LE: np.ndarray) -> np.ndarray:
    """Standard deviation over experts / mean: 0 when balanced, sqrt(E - 1) at most."""
    return tokens_LE.std(-1) / _mean(tokens_LE)


def normalized_entropy(tokens_LE: np.ndarray) -> np.ndarray:
    """Entropy of the load / log E: 1 when balanced, 0 when one expert takes all."""
    num_experts = tokens_LE.shape[-1]
    if num_experts == 1:
        return np.ones_like(_mean(tokens_LE))
    share_LE = tokens_LE / (num_experts * _mean(tokens_LE)[..., None])
    log_share_LE = np.log(share_LE, where=share_LE > 0, out=np.zeros_like(share_LE))
    entropy_L = np.abs((share_LE * log_share_LE).sum(-1)) / np.log(num_experts)
    return np.minimum(entropy_L, 1.0)  # rounding


def busiest_share(tokens_LE: np.ndarray, n: int = 3) -> np.ndarray:
    """Share of the choices that went to the n busiest experts: n / E when balanced."""
    busiest_Ln = np.sort(tokens_LE, -1)[..., -n:]
    return busiest_Ln.sum(-1) / (tokens_LE.shape[-1] * _mean(tokens_LE))


def dead_experts(tokens_LE: np.ndarray) -> np.ndarray:
    """Experts that no token chose."""
    return (tokens_LE == 0).sum(-1)


def dropped_share(tokens_LE: np.ndarray, dropped_LE: np.ndarray) -> np.ndarray:
    """Share of the choices of each layer that found their expert full."""
    asked_LE = tokens_LE + dropped_LE
    return dropped_LE.sum(-1) / (asked_LE.shape[-1] * _mean(asked_LE))


def _mean(tokens_LE: np.ndarray) -> np.ndarray:
    mean_L = np.asarray(tokens_LE.mean(-1))
    if (mean_L == 0).any():
        layer_id = np.argwhere(np.atleast_1d(mean_L) == 0)[0, 0]
        raise ValueError(
            f"layer {layer_id} has no routed tokens; capture a trace with tokens, or choose "
            "another domain or phase"
        )
    return mean_L
