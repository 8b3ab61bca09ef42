"""What the domain tells about the expert once the token is known.

T = tokens, N = documents, C = choices (tokens times k), V = token ids, E = routed experts.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

SHUFFLES = 10  # of domains within token ids: their mean varies little
PERMUTATIONS = 50  # of domains over documents


@dataclass(frozen=True, slots=True)
class ConditionalInformation:
    """I(expert; domain | token id) of one layer, in nats per choice."""

    plug_in: float
    null: float  # mean after shuffling domains within token id: what finite counts give
    document_excess: float  # what any grouping of these documents has beyond such a null
    corrected: float  # plug_in - null - document_excess
    p: float  # over permutations of domains among documents


def conditional_information(
    chosen_TE: np.ndarray,
    token_id_T: np.ndarray,
    document_T: np.ndarray,
    domain_id_T: np.ndarray,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> ConditionalInformation:
    """Plug-in estimate against shuffles within token id, and against documents dealt at random."""
    token_C, expert_C = np.nonzero(chosen_TE)
    if len(token_C) == 0:
        raise ValueError("no routed tokens in this layer; capture a trace with tokens")
    domains, domain_T = np.unique(domain_id_T, return_inverse=True)
    if len(domains) < 2:
        raise ValueError("all tokens are of one domain; label documents of two or more domains")
    _, first_N, row_T = np.unique(document_T, return_index=True, return_inverse=True)
    id_T = np.unique(token_id_T, return_inverse=True)[1]
    id_C = id_T[token_C]
    cell = id_C * chosen_TE.shape[-1] + expert_C
    cell_C = np.unique(cell, return_inverse=True)[1] * len(domains)
    fixed = _log_sum(cell_C) - _log_sum(id_C)
    by_id_T = np.argsort(id_T, kind="stable")
    rng = np.random.default_rng(seed)

    def estimate(domain_T: np.ndarray) -> float:
        domain_C = domain_T[token_C]
        given = _log_sum(id_C * len(domains) + domain_C)
        return (_log_sum(cell_C + domain_C) - given - fixed) / len(token_C)

    def shuffled(domain_T: np.ndarray) -> np.ndarray:
        shuffled_T = np.empty_like(domain_T)
        shuffled_T[by_id_T] = domain_T[np.lexsort((rng.random(len(id_T)), id_T))]
        return shuffled_T

    plug_in = max(estimate(domain_T), 0.0)
    null = float(np.mean([estimate(shuffled(domain_T)) for _ in range(SHUFFLES)]))
    dealt = [rng.permutation(domain_T[first_N])[row_T] for _ in range(permutations)]
    found = np.array([estimate(dealt_T) for dealt_T in dealt])
    least = float(np.mean([estimate(shuffled(dealt_T)) for dealt_T in dealt]))
    if min(null, least) < 1e-12:
        raise ValueError(
            "no token id meets two domains and two experts: nothing is left to say beyond the token"
        )
    ratio = found / least
    p = (1 + (ratio >= plug_in / null - 1e-12).sum()) / (1 + permutations)
    excess = null * (float(ratio.mean()) - 1)
    return ConditionalInformation(plug_in, null, excess, plug_in - null - excess, float(p))


def _log_sum(cells_C: np.ndarray) -> float:
    """Sum over cells of n ln n."""
    tokens = np.bincount(cells_C)
    return float(xlogy(tokens, tokens).sum())
