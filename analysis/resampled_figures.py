"""The figures of a layer in many resamples at once: those of analysis/load.py and
analysis/specialization.py, in one pass.

E = routed experts of one layer, G = domains, R = resamples. Counts are float32; what is read of
them in one go fits the cache.
"""

from collections.abc import Callable, Iterator

import numpy as np

from analysis.distinct import distinct_experts, entropy
from analysis.load import BUSIEST, busiest_share
from analysis.refusals import no_tokens, one_domain, too_few_choices
from analysis.specialization import (
    MIN_DIVERGENCE,
    MIN_DOMAIN_TOKENS,
    MIN_LIFT,
    MIN_MARGIN,
    MIN_PROFILE_TOKENS,
)

CACHED = 100_000  # counts
SMALLEST = np.float32(1e-30)


def load_figures(tokens_RE: np.ndarray) -> dict[str, np.ndarray]:
    """Each metric of load [R], by its name."""
    num_experts = tokens_RE.shape[-1]
    mean_R = tokens_RE.mean(-1)
    if (mean_R == 0).any():
        raise ValueError(no_tokens(0))
    relative_RE = tokens_RE / mean_R[:, None]
    ordered_RE = np.sort(relative_RE, -1)
    place_E = (2 * np.arange(1, num_experts + 1) - num_experts - 1).astype(np.float32)
    share_RE = relative_RE / np.float32(num_experts)
    entropy_R = -(share_RE * np.log(np.maximum(share_RE, SMALLEST))).sum(-1)
    even_R = np.minimum(np.abs(entropy_R) / np.log(max(num_experts, 2)), 1)
    return {
        "load_imbalance": ordered_RE[:, -1],
        "max_violation": ordered_RE[:, -1] - 1,
        "gini": ordered_RE @ place_E / np.float32(num_experts**2),
        "coefficient_of_variation": relative_RE.std(-1),
        "normalized_entropy": even_R if num_experts > 1 else np.ones(len(even_R)),
        busiest_share.__name__: ordered_RE[:, -BUSIEST:].sum(-1) / np.float32(num_experts),
    }


def domain_figures(
    block_of: Callable[[slice], np.ndarray], size_GR: np.ndarray, num_experts: int
) -> dict[str, np.ndarray]:
    """mutual_information, information_share (NaN of one domain) and mean_divergence [R].

    block_of: tokens_EGR of some experts. With the lift r of a cell and the corpus's share q, the
    information of an expert is the sum of q r log r, and twice its divergence that less the sum of
    q (1 + r) log((1 + r) / 2): nothing large is subtracted.
    """
    size_GR = size_GR.astype(np.float64)
    total_R = size_GR.sum(0)
    if (total_R == 0).any():
        raise ValueError(no_tokens(0))
    share_GR = (size_GR / total_R).astype(np.float32)
    inverse_GR = 1 / np.where(share_GR > 0, share_GR, 1)
    information_R, divergence_R, living_R = np.zeros((3, len(total_R)))
    for of in _blocks(num_experts, size_GR.size):
        tokens_BGR = block_of(of)
        load_BR = tokens_BGR.sum(1)
        part_BGR = tokens_BGR * (1 / np.maximum(load_BR, 1e-30))[:, None]
        lift_BGR = part_BGR * inverse_GR
        log_BGR = np.maximum(lift_BGR, SMALLEST)
        np.log(log_BGR, out=log_BGR)
        log_BGR *= part_BGR
        own_BR = log_BGR.sum(1)
        lift_BGR += 1
        lift_BGR *= 0.5
        np.log(lift_BGR, out=lift_BGR)
        part_BGR += share_GR
        lift_BGR *= part_BGR
        between_BR = (own_BR - lift_BGR.sum(1)) * np.float32(0.5 / np.log(2))
        is_living_BR = load_BR > 0
        information_R += (load_BR * own_BR).sum(0)
        divergence_R += (between_BR.clip(0, 1) * is_living_BR).sum(0)
        living_R += is_living_BR.sum(0)
    information_R = np.maximum(information_R / total_R, 0)
    entropy_R = entropy((size_GR / total_R).T)
    return {
        "mutual_information": information_R,
        "information_share": np.divide(
            information_R, entropy_R, out=np.full(len(total_R), np.nan), where=entropy_R > 0
        ),
        "mean_divergence": divergence_R / living_R,
    }


def distinct_shares(tokens_EGR: np.ndarray) -> np.ndarray:
    """distinct_share [R]."""
    known_ER = tokens_EGR.sum(1) >= MIN_PROFILE_TOKENS
    if ((tokens_EGR.sum(0) > 0).sum(0) < 2).any():
        raise ValueError(one_domain())
    if not known_ER.any(0).all():
        raise ValueError(too_few_choices(0, MIN_PROFILE_TOKENS))
    return distinct_experts(tokens_EGR, known_ER, MIN_DIVERGENCE).sum(0) / len(tokens_EGR)


def preference_counts(tokens_EGR: np.ndarray) -> np.ndarray:
    """How many experts expert_domain() gives each domain, TOO_FEW and NO_DOMAIN [R, G + 2]; a
    resample of one domain only NO_DOMAIN."""
    num_experts, num_domains, resamples = tokens_EGR.shape
    size_GR = tokens_EGR.sum(0)
    share_GR = size_GR / np.maximum(size_GR.sum(0), 1)
    divisor_GR = np.where(share_GR > 0, share_GR, 1)
    compared_R = (size_GR > 0).sum(0) > 1
    counts = np.zeros((num_domains + 2) * resamples, int)
    for of in _blocks(num_experts, size_GR.size):
        tokens_BGR = tokens_EGR[of]
        load_BR = tokens_BGR.sum(1)
        lift_BGR = tokens_BGR / np.where(load_BR > 0, load_BR, 1)[:, None] / divisor_GR
        first_BR, tokens_BR = lift_BGR[:, 0].copy(), tokens_BGR[:, 0].copy()
        second_BR, label_BR = np.zeros_like(first_BR), np.zeros(first_BR.shape, np.int32)
        for domain_id in range(1, num_domains):
            of_BR = lift_BGR[:, domain_id]
            larger_BR = of_BR > first_BR
            np.maximum(second_BR, np.minimum(first_BR, of_BR), out=second_BR)
            np.maximum(first_BR, of_BR, out=first_BR)
            np.copyto(label_BR, domain_id, where=larger_BR)
            np.copyto(tokens_BR, tokens_BGR[:, domain_id], where=larger_BR)
        prefers_BR = (first_BR >= MIN_LIFT) & (first_BR >= MIN_MARGIN * second_BR)
        label_BR[~prefers_BR] = num_domains + 1
        label_BR[np.where(prefers_BR, tokens_BR, load_BR) < MIN_DOMAIN_TOKENS] = num_domains
        label_BR[:, ~compared_R] = num_domains + 1
        place_BR = label_BR * resamples + np.arange(resamples)
        counts += np.bincount(place_BR.ravel(), minlength=len(counts))
    return counts.reshape(-1, resamples).T


def _blocks(num_experts: int, counts: int) -> Iterator[slice]:
    """Experts of so many counts each that fit the cache."""
    together = max(1, CACHED // max(counts, 1))
    for first in range(0, num_experts, together):
        yield slice(first, first + together)
