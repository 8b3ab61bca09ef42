"""Which distributions differ from all others, without comparing every two.

E = experts, G = domains, R = resamples.
"""

import numpy as np

TRIED_FIRST = 6  # neighbours of an expert
HELLINGER_ROUNDING = 2e-6  # of float32


def distinct_experts(
    tokens_EGR: np.ndarray, known_ER: np.ndarray, min_divergence: float
) -> np.ndarray:
    """Which of the known experts are at least min_divergence from every other living one [E, R].

    With h^2 = 1 - sum of sqrt(p q), the squared Hellinger distance, h^2 <= divergence in bits <=
    h^2 / log 2: few pairs need more. The nearest on average are tried first.
    """
    root_EGR = np.sqrt(_over(tokens_EGR, tokens_EGR.sum(1, keepdims=True)))
    mean_EG = root_EGR.mean(-1)
    likeness_EE = mean_EG @ mean_EG.T
    np.fill_diagonal(likeness_EE, -1)
    surely_near = 1 - min_divergence * np.log(2) + HELLINGER_ROUNDING
    open_ER = known_ER.copy()
    if root_EGR.shape[-1] > 1 and len(root_EGR) > TRIED_FIRST:
        nearest_EC = np.argsort(-likeness_EE, -1)[:, :TRIED_FIRST]
        for other_E in nearest_EC.T:
            near_ER = np.einsum("egr,egr->er", root_EGR, root_EGR[other_E]) > surely_near
            open_ER &= ~near_ER
            if not open_ER.any():
                return open_ER
    root_REG = np.ascontiguousarray(np.moveaxis(root_EGR, -1, 0))
    unsure = []
    for resample, root_EG in enumerate(root_REG):
        rows = np.flatnonzero(open_ER[:, resample])
        if not rows.size:
            continue
        like_EE = root_EG[rows] @ root_EG.T
        like_EE[np.arange(len(rows)), rows] = -1
        like_EE[:, ~root_EG.any(-1)] = -1  # the dead are nobody's neighbour
        most_E = like_EE.max(-1)
        open_ER[rows[most_E > surely_near], resample] = False
        maybe = (most_E <= surely_near) & (most_E >= 1 - min_divergence - HELLINGER_ROUNDING)
        place, other = np.nonzero(like_EE[maybe] >= 1 - min_divergence - HELLINGER_ROUNDING)
        unsure.append(np.stack([np.full(len(place), resample), rows[maybe][place], other]))
    if unsure:
        resample, expert, other = np.concatenate(unsure, 1)
        share_CG, other_CG = (
            _shares(tokens_EGR[of, :, resample].astype(np.float64)) for of in (expert, other)
        )
        near_C = divergence(share_CG, other_CG) < min_divergence
        open_ER[expert[near_C], resample[near_C]] = False
    return open_ER


def entropy(share_G: np.ndarray) -> np.ndarray:
    """Nats, over the last axis."""
    return -(share_G * np.log(share_G, where=share_G > 0, out=np.zeros_like(share_G))).sum(-1)


def divergence(p_G: np.ndarray, q_G: np.ndarray) -> np.ndarray:
    """Jensen-Shannon, bits, over the last axis."""
    between = entropy((p_G + q_G) / 2) - (entropy(p_G) + entropy(q_G)) / 2
    return np.clip(between / np.log(2), 0.0, 1.0)


def _shares(tokens_CG: np.ndarray) -> np.ndarray:
    return _over(tokens_CG, tokens_CG.sum(-1, keepdims=True))


def _over(tokens: np.ndarray, total: np.ndarray) -> np.ndarray:
    """0 where nothing was counted."""
    return tokens / np.where(total > 0, total, 1)
