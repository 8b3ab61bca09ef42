"""Which decisions of a dump cannot be right. A decision: what one token chose in one layer.

T = tokens, L = MoE layers, K = most experts any token chose, P = physical experts.
"""

from dataclasses import dataclass

import numpy as np

from data.routing import INT16, NO_EXPERT

CONSTANT_ROWS = 16  # tokens in a row that are routed alike, from which they are named
CONSTANT_LAYERS = 4  # layers, from which that is worth a word
ROUNDING = 0.02  # of a sum of weights in bfloat16


@dataclass(frozen=True, slots=True)
class Faults:
    """Exclusive, but for rows: a row is all of its decisions."""

    missing_T: np.ndarray  # every id is NO_EXPERT
    zero_T: np.ndarray  # every id is 0
    zero_TL: np.ndarray  # every id is 0, of other rows
    unknown_TL: np.ndarray  # an id that the layer does not have
    repeated_TL: np.ndarray  # one expert twice
    incomplete_TL: np.ndarray  # fewer than the layer chooses, but some

    def wrong(self) -> np.ndarray:
        """[T, L]"""
        wrong_TL = self.zero_TL | self.unknown_TL | self.repeated_TL | self.incomplete_TL
        return wrong_TL | self.zero_T[:, None]


def faults(
    ids_TLK: np.ndarray,
    experts_L: np.ndarray,
    *,
    top_k_L: list[int | None],
    zero_TL: np.ndarray,
) -> Faults:
    """`zero_TL`: decisions of 0 alone as they stand in the file, which were not recorded."""
    low_TL, high_TL = ids_TLK.min(-1), ids_TLK.max(-1)
    none_TL = high_TL == NO_EXPERT
    unknown_TL = (low_TL < NO_EXPERT) | (high_TL >= experts_L)
    zero_TL = (high_TL == 0) & zero_TL
    ordered_TLK = np.sort(ids_TLK, axis=-1)
    twice_TLK = (ordered_TLK[..., 1:] == ordered_TLK[..., :-1]) & (ordered_TLK[..., 1:] >= 0)
    repeated_TL = twice_TLK.any(-1) & ~zero_TL & ~unknown_TL
    chosen_TL = (ids_TLK != NO_EXPERT).sum(-1)
    k_L = np.array([0 if top_k is None else top_k for top_k in top_k_L])
    incomplete_TL = (chosen_TL != k_L) & (k_L > 0) & ~none_TL
    incomplete_TL &= ~(unknown_TL | repeated_TL | zero_TL)
    zero_T = (zero_TL | none_TL).all(-1) & zero_TL.any(-1)
    return Faults(
        missing_T=none_TL.all(-1),
        zero_T=zero_T,
        zero_TL=zero_TL & ~zero_T[:, None],
        unknown_TL=unknown_TL,
        repeated_TL=repeated_TL,
        incomplete_TL=incomplete_TL,
    )


def logical_ids(ids_TLK: np.ndarray, map_LP: np.ndarray) -> np.ndarray:
    """Physical ids as those of the experts that they are copies of; beyond the map: INT16's last,
    which no layer has."""
    places = map_LP.shape[1]
    within_TLK = (ids_TLK >= 0) & (ids_TLK < places)
    layer_L1 = np.arange(len(map_LP))[:, None]
    mapped_TLK = map_LP[layer_L1, np.where(within_TLK, ids_TLK, 0)]
    return np.where(within_TLK, mapped_TLK, np.where(ids_TLK < 0, ids_TLK, INT16[1])).astype(
        np.int16
    )


def stale_rows(ids_TLK: np.ndarray, doc_id_T: np.ndarray) -> np.ndarray:
    """Tokens routed as the one before in every layer, CONSTANT_ROWS or more in a row: a mask."""
    stale_T = np.zeros(len(ids_TLK), bool)
    if ids_TLK.shape[1] < CONSTANT_LAYERS or len(ids_TLK) <= CONSTANT_ROWS:
        return stale_T
    first_T = (ids_TLK[1:, 0] == ids_TLK[:-1, 0]).all(-1) & (doc_id_T[1:] == doc_id_T[:-1])
    rows = np.flatnonzero(first_T)
    same_T = np.zeros(len(ids_TLK) + 1, bool)
    same_T[rows + 1] = (ids_TLK[rows + 1] == ids_TLK[rows]).all((1, 2))
    edges = np.flatnonzero(np.diff(same_T.astype(np.int8), prepend=0))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin >= CONSTANT_ROWS:
            stale_T[begin:end] = True
    return stale_T


def by_weight(
    ids_TLK: np.ndarray, weights_TLK: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ids, weights, which decisions were in another order): the largest weight first. A choice
    that was not made stays last."""
    key_TLK = np.where(ids_TLK == NO_EXPERT, -np.inf, weights_TLK)
    unordered_TL = np.asarray((key_TLK[..., 1:] > key_TLK[..., :-1]).any(-1))
    if not unordered_TL.any():
        return ids_TLK, weights_TLK, unordered_TL
    order = np.argsort(-key_TLK[unordered_TL], axis=-1, kind="stable")
    ids_TLK, weights_TLK = ids_TLK.copy(), weights_TLK.copy()
    ids_TLK[unordered_TL] = np.take_along_axis(ids_TLK[unordered_TL], order, -1)
    weights_TLK[unordered_TL] = np.take_along_axis(weights_TLK[unordered_TL], order, -1)
    return ids_TLK, weights_TLK, unordered_TL


def sums_against(sum_TL: np.ndarray, one_L: np.ndarray, at_most_one_L: np.ndarray) -> np.ndarray:
    """Decisions whose weights sum otherwise than those of their layer do."""
    wrong_TL = (np.abs(sum_TL - 1) > ROUNDING) & one_L
    wrong_TL |= ((sum_TL > 1 + ROUNDING) | (sum_TL <= 0)) & at_most_one_L
    return wrong_TL
