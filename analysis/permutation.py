"""Is an expert's preference for a domain more than the luck of which documents were read?

N = documents, L = MoE layers, E = routed experts, G = domains, P = permutations. Labels are
permuted over whole documents, so the tokens of a document may resemble one another as they like.
The statistic is studentized: domains may differ in the length and the spread of their documents
(Chung and Romano 2013).
"""

import numpy as np
from scipy import stats

PERMUTATIONS = 1000
COUNTED_TAIL = 0.02  # a smaller p is read from a tail fitted to the permutations


def permuted_labels(
    domain_id_N: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> np.ndarray:
    """The labels as they are, then permuted [1 + P, N]."""
    copies_PN = np.tile(domain_id_N, (permutations, 1))
    permuted_PN = np.random.default_rng(seed).permuted(copies_PN, axis=1)
    return np.concatenate([domain_id_N[None], permuted_PN])


def preference_p(
    tokens_NLE: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    num_domains: int,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> np.ndarray:
    """Two-sided p of every expert and domain [L, E, G]; NaN where nothing can be tested."""
    labels_PN = permuted_labels(domain_id_N, permutations=permutations, seed=seed)
    member_GPN = (labels_PN == np.arange(num_domains)[:, None, None]).astype(np.float32)
    documents_G = np.bincount(domain_id_N, minlength=num_domains)
    rest_G = len(domain_id_N) - documents_G
    freedom_G = np.minimum(documents_G, rest_G) - 1
    p_LEG = np.full((*tokens_NLE.shape[1:], num_domains), np.nan)
    for layer_id, p_EG in enumerate(p_LEG):
        excess_GPE = studentized_excess(tokens_NLE[:, layer_id], member_GPN)
        for domain_id in np.flatnonzero(freedom_G > 0):
            excess_EP = excess_GPE[domain_id].T.copy()
            p_EG[:, domain_id] = _two_sided_p(excess_EP, freedom_G[domain_id])
    return p_LEG


def studentized_excess(tokens_NE: np.ndarray, member_GPN: np.ndarray) -> np.ndarray:
    """Choices beyond what the expert's load expects in the domain, over their standard error
    [G, P, E]; NaN where documents do not differ.

    Domain and rest are two samples of documents; the variance is the ratio estimator's in every
    domain, with n / (n - 1), computed again for every permutation.
    """
    load_N1 = tokens_NE.sum(-1, keepdims=True).astype(np.float64)
    total = max(load_N1.sum(), 1.0)
    residual_NE = tokens_NE - load_N1 * (tokens_NE.sum(0) / total)
    features = [residual_NE, residual_NE * load_N1, residual_NE**2, load_N1, load_N1**2]
    sums = member_GPN @ np.concatenate(features, 1).astype(np.float32)
    excess, cross, squares = np.split(sums[..., :-2], 3, -1)
    load, load_squares = sums[..., -2:-1], sums[..., -1:]
    slope = excess / np.maximum(load, 1)
    spread = np.maximum(squares - 2 * slope * cross + slope**2 * load_squares, 0)
    documents = member_GPN[:, :1].sum(-1)[..., None]
    spread *= documents / np.maximum(documents - 1, 1)
    share = load / np.float32(total)
    variance = (1 - share) ** 2 * spread + share**2 * (spread.sum(0) - spread)
    noise_E = 1e-6 * (residual_NE**2).sum(0) + 1e-6  # of float32
    return np.where(variance > noise_E, excess / np.sqrt(np.maximum(variance, 1e-6)), np.nan)


def false_discovery_rate(p: np.ndarray) -> np.ndarray:
    """q of Benjamini and Hochberg (1995) over every p that is not NaN, in the shape given."""
    q = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = stats.false_discovery_control(p[tested])
    return q


def _two_sided_p(excess_EP: np.ndarray, freedom: int) -> np.ndarray:
    """The first column is the observed one. Twice the smaller tail; NaN stays."""
    observed_E = excess_EP[:, 0]
    permuted_EP = np.nan_to_num(excess_EP[:, 1:])
    upper_E = _upper_tail(observed_E, permuted_EP, freedom)
    lower_E = _upper_tail(-observed_E, -permuted_EP, freedom)
    return np.where(np.isnan(observed_E), np.nan, np.minimum(1, 2 * np.minimum(upper_E, lower_E)))


def _upper_tail(observed_E: np.ndarray, permuted_EP: np.ndarray, freedom: int) -> np.ndarray:
    """P(permuted >= observed): counted where at least COUNTED_TAIL of them exceed it, else
    Student's tail, scaled to meet the permutations there."""
    permutations = permuted_EP.shape[1]
    last = max(1, round(COUNTED_TAIL * permutations))
    exceeding_E = (permuted_EP >= observed_E[:, None]).sum(-1)
    edge_E = np.partition(permuted_EP, permutations - last, -1)[:, permutations - last]
    level = (last + 1) / (permutations + 1)
    scale_E = edge_E / stats.t.isf(level, freedom)
    tail_E = stats.t.sf(observed_E / np.maximum(scale_E, 1e-3), freedom)
    return np.where(exceeding_E >= last, (exceeding_E + 1) / (permutations + 1), tail_E)
