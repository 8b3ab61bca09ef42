"""How alike the experts of a layer are, and which of them another could stand for.

E = routed experts, F = inner neurons, P = parts of a neuron (its gate row, up row, down column; or
one, where no sign may change),
D = model dim, T = tokens. Every similarity is [E, E], between -1 and 1; NaN where an expert has
nothing to compare.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

CLOSED = -1  # an expert that nobody stands for: the gate chooses another one
SIMILARITIES = ("outputs", "weights", "aligned", "routing")


class Match(NamedTuple):
    """The neurons of one expert in the order of another's; negated where `sign_F` is -1."""

    order_F: np.ndarray
    sign_F: np.ndarray


def weight_similarity(neurons_EFPD: np.ndarray) -> np.ndarray:
    """Cosine of all weights, number by number: the order of the neurons counts."""
    return _cosine(neurons_EFPD.reshape(len(neurons_EFPD), -1))


def aligned_similarity(neurons_EFPD: np.ndarray) -> np.ndarray:
    """The largest cosine of all weights over the orders and signs of inner neurons: both leave
    what an expert computes as it is (up row and down column negated together)."""
    num_experts = len(neurons_EFPD)
    norm_E = np.linalg.norm(neurons_EFPD.reshape(num_experts, -1), axis=1)
    product_EE = np.diag(norm_E**2)
    for a in range(num_experts):
        for b in range(a):
            score_FF = _products(neurons_EFPD[a], neurons_EFPD[b])[0]
            product_EE[a, b] = product_EE[b, a] = score_FF[linear_sum_assignment(-score_FF)].sum()
    return _normalized(product_EE, norm_E)


def neuron_match(neurons_FPD: np.ndarray, leader_FPD: np.ndarray) -> Match:
    """How to lay an expert's neurons on a leader's so that their weights agree most."""
    score_FF, sign_FF = _products(leader_FPD, neurons_FPD)
    row_F, order_F = linear_sum_assignment(-score_FF)
    return Match(order_F, sign_FF[row_F, order_F])


def output_similarity(outputs_ETD: np.ndarray) -> np.ndarray:
    """Mean over tokens of the cosine of what two experts give for the same token."""
    return _output_products(outputs_ETD, outputs_ETD)


def output_similarity_null(outputs_ETD: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """The same with the tokens of one of the two in random order: what a common direction of all
    outputs gives by itself."""
    order_T = np.random.default_rng(seed).permutation(outputs_ETD.shape[1])
    return _output_products(outputs_ETD, outputs_ETD[:, order_T])


def routing_similarity(chosen_TE: np.ndarray) -> np.ndarray:
    """Correlation over tokens of being chosen; NaN for an expert chosen never or always."""
    centered_ET = (chosen_TE - chosen_TE.mean(0)).T
    return _cosine(centered_ET)


def routing_similarity_null(num_experts: int) -> float:
    """-1 / (E - 1): a fixed number of places for which all experts compete alike."""
    if num_experts < 2:
        raise ValueError(f"{num_experts} expert has no other to compare with")
    return -1 / (num_experts - 1)


def leaders(similarity_EE: np.ndarray, tokens_E: np.ndarray, *, threshold: float) -> np.ndarray:
    """The expert that stands for each [E], greedily: the busiest first, each joins the most similar
    expert that stands already, or stands itself where none reaches the threshold."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"the threshold ({threshold}) must be between 0 and 1")
    order_E = np.argsort(-tokens_E, kind="stable")
    likeness_EE = np.nan_to_num(similarity_EE, nan=-1.0)[np.ix_(order_E, order_E)]
    before_EE = np.tril(likeness_EE >= threshold, -1)  # whom each may join, the busiest first
    leads_E, stands_E = np.arange(len(order_E)), np.ones(len(order_E), dtype=bool)
    for place in np.flatnonzero(before_EE.any(1)):
        open_to_it = np.flatnonzero(before_EE[place] & stands_E)
        if len(open_to_it):
            leads_E[place] = open_to_it[likeness_EE[place, open_to_it].argmax()]
            stands_E[place] = False
    leader_E = np.empty_like(order_E)
    leader_E[order_E] = order_E[leads_E]
    return leader_E


def without_least_salient(saliency_E: np.ndarray, *, share: float) -> np.ndarray:
    """Leaders [E]: every expert its own, the least salient share of them CLOSED."""
    if not 0 <= share < 1:
        raise ValueError(f"the share ({share}) must be at least 0 and below 1")
    leader_E = np.arange(len(saliency_E))
    leader_E[np.argsort(saliency_E, kind="stable")[: int(share * len(saliency_E))]] = CLOSED
    return leader_E


def pair_rows(similarity_EE: np.ndarray, leader_E: np.ndarray) -> list[dict[str, object]]:
    """expert_a < expert_b, similarity, leader: None unless both run that expert's weights."""
    rows: list[dict[str, object]] = []
    for a, b in zip(*np.triu_indices(len(leader_E), 1), strict=True):
        together = leader_E[a] == leader_E[b] != CLOSED
        similarity = float(similarity_EE[a, b])
        rows.append(
            {
                "expert_a": int(a),
                "expert_b": int(b),
                "similarity": None if np.isnan(similarity) else similarity,
                "leader": int(leader_E[a]) if together else None,
            }
        )
    return rows


def _products(first_FPD: np.ndarray, second_FPD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(products of every two neurons under the better sign, that sign)"""
    gate_FF = first_FPD[:, 0] @ second_FPD[:, 0].T
    if first_FPD.shape[1] == 1:
        return gate_FF, np.ones_like(gate_FF)
    signed_FF = first_FPD[:, 1:].reshape(len(first_FPD), -1)
    signed_FF = signed_FF @ second_FPD[:, 1:].reshape(len(second_FPD), -1).T
    return gate_FF + np.abs(signed_FF), np.where(signed_FF < 0, -1.0, 1.0)


def _output_products(first_ETD: np.ndarray, second_ETD: np.ndarray) -> np.ndarray:
    first_EN, second_EN = (
        np.divide(part, size, out=np.zeros_like(part), where=size > 0).reshape(len(part), -1)
        for part in (first_ETD, second_ETD)
        for size in [np.linalg.norm(part, axis=-1, keepdims=True)]
    )
    product_EE = (first_EN @ second_EN.T / first_ETD.shape[1]).clip(-1, 1)
    silent_E = ~first_EN.any(1)
    product_EE[silent_E] = product_EE[:, silent_E] = np.nan
    return product_EE


def _cosine(rows_EN: np.ndarray) -> np.ndarray:
    rows_EN = rows_EN.astype(float)
    return _normalized(rows_EN @ rows_EN.T, np.linalg.norm(rows_EN, axis=1))


def _normalized(product_EE: np.ndarray, norm_E: np.ndarray) -> np.ndarray:
    size_EE = norm_E[:, None] * norm_E
    cosine_EE = np.full(product_EE.shape, np.nan)
    np.divide(product_EE, size_EE, out=cosine_EE, where=size_EE > 0)
    return cosine_EE.clip(-1, 1)
