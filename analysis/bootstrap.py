"""What another sample of texts would have shown: 95 % intervals by the clustered bootstrap.

N = groups, L = MoE layers, E = routed experts, G = domains, R = resamples. Tokens of one group
resemble one another, so groups are drawn again, whole and within their domain.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

RESAMPLES = 1000
CONFIDENCE = 0.95


def bootstrap_weights(
    domain_id_N: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """How often each resample holds each group [R, N]; every domain keeps its number."""
    rng = np.random.default_rng(seed)
    weights_RN = np.zeros((resamples, len(domain_id_N)), dtype=np.float32)
    for domain_id in np.unique(domain_id_N):
        groups = np.flatnonzero(domain_id_N == domain_id)
        drawn = rng.integers(len(groups), size=(resamples, len(groups)))
        drawn += np.arange(resamples)[:, None] * len(groups)
        counts = np.bincount(drawn.ravel(), minlength=drawn.size)
        weights_RN[:, groups] = counts.reshape(drawn.shape)
    return weights_RN


def resampled_loads(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    num_domains: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Callable[[int], np.ndarray]:
    """tokens_EGR (float32) of a layer, by its layer_id; the same resamples in each."""
    weights_RN = bootstrap_weights(domain_id_N, resamples=resamples, seed=seed)
    by_domain = [np.flatnonzero(domain_id_N == domain_id) for domain_id in range(num_domains)]
    weights_GNR = [weights_RN[:, groups].T.copy() for groups in by_domain]

    def of_layer(layer_id: int) -> np.ndarray:
        tokens_NE = tokens_NLE[:, layer_id].astype(np.float32)
        tokens_EGR = np.empty((tokens_NE.shape[1], num_domains, resamples), np.float32)
        for domain_id, groups in enumerate(by_domain):
            tokens_EGR[:, domain_id] = tokens_NE[groups].T @ weights_GNR[domain_id]
        return tokens_EGR

    return of_layer


def jackknife_quantile(without_N: np.ndarray, domain_id_N: np.ndarray, *, error: float) -> float:
    """Student's quantile at which an interval of resamples is wide enough: without_N are the values
    of the figure with one group left out, error the spread of its resamples.

    Resamples spread less than the sample does: by sqrt(n / (n - 1)) within a domain, and by what
    the jackknife finds beyond. The freedom is Satterthwaite's: few long groups that move the
    figure most are few observations.
    """
    groups_N = np.bincount(domain_id_N)[domain_id_N]
    mean_N = (np.bincount(domain_id_N, without_N) / np.maximum(np.bincount(domain_id_N), 1))[
        domain_id_N
    ]
    squares_N = (without_N - mean_N) ** 2
    total, num_groups = squares_N.sum(), len(domain_id_N)
    freedom = num_groups - len(np.unique(domain_id_N))
    expansion = np.sqrt(num_groups / freedom)
    if total > 0 and error > 0:
        expansion = max(expansion, np.sqrt((squares_N * (1 - 1 / groups_N)).sum()) / error)
        spread = (squares_N**2).sum() / total**2 - 1 / num_groups
        freedom = min(freedom, 2 / max(spread, 1e-9))
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * expansion)


def basic_interval(
    resampled_R: np.ndarray, estimate: np.ndarray, quantile: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """2 estimate - percentiles, over the last axis: an estimate that noise pushes up is brought
    down by as much as resampling pushed it up again (Davison and Hinkley 1997)."""
    ordered_R = np.sort(resampled_R, -1)
    level = np.broadcast_to(special.ndtr(quantile), estimate.shape)
    return 2 * estimate - _at_level(ordered_R, level), 2 * estimate - _at_level(
        ordered_R, 1 - level
    )


def _at_level(ordered_R: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Linear between the order statistics."""
    resamples = ordered_R.shape[-1]
    place = np.clip(level * (resamples + 1) - 1, 0, resamples - 1)
    lower = np.minimum(place.astype(int), resamples - 2)
    below, above = (
        np.take_along_axis(ordered_R, (lower + step)[..., None], -1)[..., 0] for step in (0, 1)
    )
    return below + (above - below) * (place - lower)
