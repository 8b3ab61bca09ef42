"""What the domain tells about the expert once the token is known.

T = tokens, C = choices (tokens times k), V = token ids, E = routed experts, G = domains.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

PERMUTATIONS = 100


@dataclass(frozen=True, slots=True)
class ConditionalInformation:
    """I(expert; domain | token id) of one layer, in nats per choice."""

    plug_in: float
    null: float  # mean over permutations of domains within token id
    corrected: float  # plug_in - null
    p: float  # takes occurrences of a token id for independent


def conditional_information(
    chosen_TE: np.ndarray,
    token_id_T: np.ndarray,
    domain_id_T: np.ndarray,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> ConditionalInformation:
    """Plug-in estimate, and the same after shuffling domains among a token id's occurrences."""
    token_C, expert_C = np.nonzero(chosen_TE)
    if len(token_C) == 0:
        raise ValueError("no routed tokens in this layer; capture a trace with tokens")
    domains, domain_T = np.unique(domain_id_T, return_inverse=True)
    if len(domains) < 2:
        raise ValueError("all tokens are of one domain; label documents of two or more domains")
    id_T = np.unique(token_id_T, return_inverse=True)[1]
    cell = id_T[token_C] * chosen_TE.shape[-1] + expert_C
    cell_C = np.unique(cell, return_inverse=True)[1] * len(domains)
    fixed = _log_sum(cell_C) - _log_sum(id_T[token_C])
    by_id_T = np.argsort(id_T, kind="stable")

    def estimate(domain_T: np.ndarray) -> float:
        domain_C = domain_T[token_C]
        given = _log_sum(id_T[token_C] * len(domains) + domain_C)
        return (_log_sum(cell_C + domain_C) - given - fixed) / len(token_C)

    rng = np.random.default_rng(seed)
    shuffled_T = np.empty_like(domain_T)
    nulls = np.empty(permutations)
    for draw in range(permutations):
        order_T = np.lexsort((rng.random(len(id_T)), id_T))
        shuffled_T[by_id_T] = domain_T[order_T]
        nulls[draw] = estimate(shuffled_T)
    plug_in = max(estimate(domain_T), 0.0)
    p = (1 + (nulls >= plug_in - 1e-12).sum()) / (1 + permutations)
    return ConditionalInformation(plug_in, nulls.mean(), plug_in - nulls.mean(), float(p))


def _log_sum(cells_C: np.ndarray) -> float:
    """Sum over cells of n ln n."""
    tokens = np.bincount(cells_C)
    return float(xlogy(tokens, tokens).sum())
