"""What gates of six families must choose and weigh, in NumPy, from their logits alone.

T = tokens, E = experts, K = chosen, G = groups.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


def softmax(x_TE: np.ndarray) -> np.ndarray:
    raised_TE = np.exp(x_TE - x_TE.max(-1, keepdims=True))
    return raised_TE / raised_TE.sum(-1, keepdims=True)


def sigmoid(x_TE: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x_TE))


def best_group(by_TE: np.ndarray, size: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """-inf outside the better of two halves of the experts, by the size of each."""
    first_TE, second_TE = np.split(by_TE, 2, axis=-1)
    first_T = size(first_TE) > size(second_TE)
    closed_TE = np.full_like(first_TE, -np.inf)
    return np.concatenate(
        [
            np.where(first_T[:, None], first_TE, closed_TE),
            np.where(first_T[:, None], closed_TE, second_TE),
        ],
        axis=-1,
    )


def best_two(by_Te: np.ndarray) -> np.ndarray:
    return np.sort(by_Te, axis=-1)[:, -2:].sum(-1)


@dataclass(frozen=True)
class HandMade:
    """How one family decides: scores and what is compared of (logits, gate); whether weights sum
    to the scale, and the scale."""

    scores: Callable[[np.ndarray], np.ndarray]
    compared: Callable[[np.ndarray, Any], np.ndarray]
    sums: bool
    scale: float = 1.0
    settings: tuple[tuple[str, object], ...] = ()  # of the gate, where not as the tiny model's


def as_scored(scores_TE: np.ndarray, gate: Any) -> np.ndarray:
    return scores_TE


def of_v2(scores_TE: np.ndarray, gate: Any) -> np.ndarray:
    return best_group(scores_TE, lambda by_Te: by_Te.max(-1))


def of_v3(scores_TE: np.ndarray, gate: Any) -> np.ndarray:
    bias_E = gate.e_score_correction_bias.double().numpy()
    return best_group(scores_TE + bias_E, best_two)


SUMMING = (("norm_topk_prob", True),)
HAND_MADE = {
    "mixtral": HandMade(softmax, as_scored, sums=True),
    "olmoe": HandMade(softmax, as_scored, sums=False),
    "olmoe, weights that sum to 1": HandMade(softmax, as_scored, sums=True, settings=SUMMING),
    "qwen3_moe": HandMade(softmax, as_scored, sums=False),
    "qwen3_moe, weights that sum to 1": HandMade(softmax, as_scored, sums=True, settings=SUMMING),
    "deepseek_v2": HandMade(
        softmax, of_v2, sums=False, scale=16.0, settings=(("routed_scaling_factor", 16.0),)
    ),
    "deepseek_v3": HandMade(sigmoid, of_v3, sums=True, scale=2.5),
    "deepseek_v3, scores as they are": HandMade(
        sigmoid, of_v3, sums=False, scale=2.5, settings=(("norm_topk_prob", False),)
    ),
    "gpt_oss": HandMade(softmax, as_scored, sums=True),
}


@dataclass(frozen=True)
class Asked:
    """A change of one layer."""

    masked: Sequence[int] = ()
    masked_top: int = 0
    forced: Sequence[int] = ()
    top_k: int = 2
    scaled: Sequence[int] = ()
    factor: float = 1.0


def decide(
    made: HandMade, gate: Any, logits_TE: np.ndarray, asked: Asked
) -> tuple[np.ndarray, np.ndarray]:
    """(expert_ids_TK, weights_TK)"""
    scores_TE = made.scores(logits_TE.astype(np.float64))
    by_TE = made.compared(scores_TE, gate).copy()
    by_TE[:, list(asked.masked)] = -np.inf
    for by_E, scores_E in zip(by_TE, scores_TE, strict=True):
        by_E[np.argsort(-scores_E)[: asked.masked_top]] = -np.inf
    by_TE[:, list(asked.forced)] = np.inf
    ids_TK = np.argsort(-by_TE, axis=-1, kind="stable")[:, : asked.top_k]
    weights_TK = np.take_along_axis(scores_TE, ids_TK, axis=-1)
    if made.sums:
        weights_TK = weights_TK / weights_TK.sum(-1, keepdims=True)
    factor_E = np.ones(logits_TE.shape[-1])
    factor_E[list(asked.scaled)] = asked.factor
    return ids_TK, made.scale * weights_TK * factor_E[ids_TK]
