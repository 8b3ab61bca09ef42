"""Which expert of one model does the work of which of another: by whom the same texts chose, or by
their weights.

P = places that both traces have, L = MoE layers, E = experts of a layer of the first model, F =
those of the corresponding layer of the second, K = choices, D = numbers of an expert.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from analysis.groups import MIN_EFFECTIVE, effective_number, summed
from analysis.matching.pair_counts import add_pairs

MAX_PLACES = 40_000  # of whole texts, by which experts are matched
MAX_PAIRS = 50_000_000  # of choices at one place, of all layers, that are counted once
OF_PRODUCT = 16  # so many times as fast is a product of matrices, a pair of experts
SHIFTS = 39  # of one trace's texts against the other's
ALLOWED = 2  # the second largest of them: 2 of 40 are 5 %
ERROR = 0.05  # of a layer: that an expert is matched by chance
DRAWS = 200  # of random similarities, by which that is known, and more of few experts:
DRAWN = 100_000  # numbers in all
FEWEST = 3  # experts, below which the pairs that do not correspond tell nothing
BLOCK = 2**18  # numbers of an expert that are multiplied at once
UNMATCHED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMatch:
    """Of a layer of the first model and the corresponding one of the second."""

    similarity_EF: np.ndarray  # NaN: an expert chosen never or always, or without own weights
    chance: float  # what no pair reaches, in 95 of 100 layers of unrelated routers; NaN: unknown
    other_E: np.ndarray  # the expert of the second, UNMATCHED where none is above chance
    partner_E: np.ndarray  # the same, above chance or not; UNMATCHED: it has more experts

    @property
    def matched(self) -> int:
        return int((self.other_E != UNMATCHED).sum())


def corresponding_layers(num_layers: int, other_layers: int) -> np.ndarray:
    """The layer of the second that corresponds to each of the first: the one at the same relative
    depth, which is the same number where they have equally many."""
    if num_layers == 1:
        return np.zeros(1, int)
    depth_L = np.arange(num_layers) / (num_layers - 1)
    return np.floor(depth_L * (other_layers - 1) + 0.5).astype(int)


def choice_correlation(
    ids_PK: np.ndarray, other_PK: np.ndarray, size_P: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Correlation over places of being chosen [E, F]: phi; NaN for an expert chosen never or
    always."""
    return _correlations(ids_PK, other_PK, size_P, shape)(0)


def _correlations(
    ids_PK: np.ndarray, other_PK: np.ndarray, size_P: np.ndarray, shape: tuple[int, int]
) -> Callable[[int], np.ndarray]:
    """choice_correlation() when the places of the second are shifted by so many."""
    both_of = _counts(ids_PK, other_PK, size_P, shape)
    total = max(size_P.sum(), 1)
    share_E, share_F = (
        np.bincount(of_PK[of_PK >= 0], np.broadcast_to(size_P[:, None], of_PK.shape)[of_PK >= 0], n)
        / total
        for of_PK, n in zip((ids_PK, other_PK), shape, strict=True)
    )
    spread_E, spread_F = (
        np.sqrt(np.clip(share * (1 - share), 0, None)) for share in (share_E, share_F)
    )
    size_EF, expected_EF = spread_E[:, None] * spread_F, share_E[:, None] * share_F

    def of_shift(shift: int) -> np.ndarray:
        apart_EF = both_of(shift) / total - expected_EF
        return np.divide(apart_EF, size_EF, out=np.full(shape, np.nan), where=size_EF > 1e-9)

    return of_shift


def _counts(
    ids_PK: np.ndarray, other_PK: np.ndarray, size_P: np.ndarray, shape: tuple[int, int]
) -> Callable[[int], np.ndarray]:
    """The size of the places at which both of two experts were chosen [E, F], after a shift."""
    if _by_product(ids_PK.shape[1] * other_PK.shape[1], shape):
        chosen_PE, chosen_PF = (
            _indicators(of_PK, count)
            for of_PK, count in zip((ids_PK, other_PK), shape, strict=True)
        )
        chosen_EP = (chosen_PE * size_P[:, None].astype(np.float32)).T
        return lambda shift: chosen_EP @ np.roll(chosen_PF, shift, axis=0)

    def counted(shift: int) -> np.ndarray:
        both_EF = np.zeros(shape, np.int64)
        add_pairs(ids_PK, other_PK, size_P, shift, both_EF)
        return both_EF

    return counted


def _by_product(pairs: int, shape: tuple[int, int]) -> bool:
    """Whether a product of matrices of indicators is faster than counting the pairs of a place."""
    return pairs * OF_PRODUCT > shape[0] * shape[1]


def _indicators(ids_PK: np.ndarray, count: int) -> np.ndarray:
    chosen_PE = np.zeros((len(ids_PK), count), np.float32)
    for id_P in ids_PK.T:
        made = np.flatnonzero(id_P >= 0)
        chosen_PE[made, id_P[made]] = 1
    return chosen_PE


def match_by_choices(
    ids_PK: np.ndarray,
    other_PK: np.ndarray,
    *,
    size_P: np.ndarray,
    group_P: np.ndarray,
    shape: tuple[int, int],
) -> LayerMatch:
    """One expert of the second for each of the first, so that the correlations add up to the most
    (Kuhn 1955). One that chance reaches is none: the largest correlation of any pair when the texts
    of the second are shifted against those of the first, which leaves all that lies within a
    trace. Places lie text by text, texts in an order that says nothing."""
    phi_of = _correlations(ids_PK, other_PK, size_P, shape)
    similarity_EF = phi_of(0)
    if effective_number(summed(size_P, group_P)) < MIN_EFFECTIVE:
        return assigned(similarity_EF, np.nan)
    shifts = [shift * len(other_PK) // (SHIFTS + 1) for shift in range(1, SHIFTS + 1)]
    largest = sorted(float(np.nan_to_num(phi_of(shift), nan=-1.0).max()) for shift in shifts)
    return assigned(similarity_EF, largest[-ALLOWED])


def assigned(similarity_EF: np.ndarray, chance: float) -> LayerMatch:
    """The best assignment; its pairs are matched above chance, and none where that is unknown."""
    partner_E, other_E = np.full((2, len(similarity_EF)), UNMATCHED)
    rows, columns = linear_sum_assignment(-np.nan_to_num(similarity_EF, nan=-1.0))
    partner_E[rows] = columns
    above = similarity_EF[rows, columns] > chance
    other_E[rows[above]] = columns[above]
    return LayerMatch(
        similarity_EF=similarity_EF, chance=chance, other_E=other_E, partner_E=partner_E
    )


def match_by_weights(weights_ED: np.ndarray, other_FD: np.ndarray) -> LayerMatch:
    """By the cosine of all weights, number by number. Chance is what experts that do not correspond
    reach: of the pairs outside of the assignment the median and MAD, and so many of these above as
    the largest of random numbers is. Not known of fewer than FEWEST experts."""
    cosine_EF = _cosine(weights_ED, other_FD)
    found = assigned(cosine_EF, np.nan)
    known = ~np.isnan(cosine_EF)
    shape = int(known.any(1).sum()), int(known.any(0).sum())
    if min(shape) < FEWEST:
        return found
    outside, _ = _outside(cosine_EF, found.partner_E)
    middle, spread = _spread(outside)
    return assigned(cosine_EF, middle + _largest(*shape) * spread)


def _outside(similarity_EF: np.ndarray, partner_E: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of pairs that are not assigned to one another, and of those that are; where it is known."""
    inside_EF = partner_E[:, None] == np.arange(similarity_EF.shape[1])
    known_EF = ~np.isnan(similarity_EF)
    return similarity_EF[known_EF & ~inside_EF], similarity_EF[known_EF & inside_EF]


def _spread(values: np.ndarray) -> tuple[float, float]:
    middle = float(np.median(values))
    return middle, float(np.median(np.abs(values - middle)))


@cache
def _largest(num_experts: int, others: int) -> float:
    """By how many deviations of those outside the largest assigned one of normal numbers is above
    their median, in 95 of 100 draws: an assignment takes the largest and leaves the others."""
    rng = np.random.default_rng(0)
    largest = []
    for _ in range(max(DRAWS, DRAWN // (num_experts * others))):
        drawn_EF = rng.normal(size=(num_experts, others))
        outside, inside = _outside(drawn_EF, assigned(drawn_EF, np.nan).partner_E)
        middle, spread = _spread(outside)
        largest.append((inside.max() - middle) / spread)
    return float(np.quantile(largest, 1 - ERROR))


def _cosine(rows_ED: np.ndarray, other_FD: np.ndarray) -> np.ndarray:
    """Block by block: experts of a large model would not fit in memory in double precision."""
    product_EF = np.zeros((len(rows_ED), len(other_FD)))
    square_E, square_F = np.zeros(len(rows_ED)), np.zeros(len(other_FD))
    for start in range(0, rows_ED.shape[1], BLOCK):
        block_EB, block_FB = (
            rows[:, start : start + BLOCK].astype(np.float64) for rows in (rows_ED, other_FD)
        )
        product_EF += block_EB @ block_FB.T
        square_E += (block_EB**2).sum(1)
        square_F += (block_FB**2).sum(1)
    return product_EF / np.maximum(np.sqrt(square_E[:, None] * square_F), 1e-300)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two ways of matching the same experts."""

    both: int  # experts matched in both ways
    same: int  # of these, with one and the same partner
    chance: float  # as many would be, if one way dealt its partners out at random


def matching_agreement(matches: Sequence[LayerMatch], others: Sequence[LayerMatch]) -> Agreement:
    both = same = 0
    chance = 0.0
    for match, other in zip(matches, others, strict=True):
        both_E = (match.other_E != UNMATCHED) & (other.other_E != UNMATCHED)
        both += int(both_E.sum())
        same += int((both_E & (match.other_E == other.other_E)).sum())
        dealt = other.other_E[other.other_E != UNMATCHED]
        chance += np.isin(match.other_E[both_E], dealt).sum() / max(len(dealt), 1)
    return Agreement(both, same, float(chance))


def match_table(matches: Sequence[LayerMatch], layer_L: np.ndarray) -> pd.DataFrame:
    """layer_id, expert_id, other_layer_id (of layer_L), other_expert_id (empty: none above chance),
    similarity (with the expert it is assigned), chance; a row an expert of the first."""
    return pd.DataFrame(
        [
            {
                "layer_id": layer_id,
                "expert_id": expert_id,
                "other_layer_id": int(layer_L[layer_id]),
                "other_expert_id": None if other == UNMATCHED else other,
                "similarity": match.similarity_EF[expert_id, partner]
                if (partner := int(match.partner_E[expert_id])) != UNMATCHED
                else np.nan,
                "chance": match.chance,
            }
            for layer_id, match in enumerate(matches)
            for expert_id, other in enumerate(match.other_E.tolist())
        ]
    ).astype({"other_expert_id": "Int64"})


def renamed(other_PK: np.ndarray, match: LayerMatch, num_experts: int) -> np.ndarray:
    """Choices of the second by the names of the first's experts; unmatched experts are numbered
    from num_experts on, where the first has none."""
    name_F = num_experts + np.arange(match.similarity_EF.shape[1])
    known_E = np.flatnonzero(match.other_E != UNMATCHED)
    name_F[match.other_E[known_E]] = known_E
    return np.where(other_PK >= 0, name_F[np.maximum(other_PK, 0)], other_PK).astype(np.int16)


def text_sample(
    unit_P: np.ndarray, allowed_P: np.ndarray, *, most: int = MAX_PLACES, seed: int = 0
) -> np.ndarray:
    """Of the places allowed, those of whole texts in random order, until they are MAX_PLACES; of
    these every so many, until they are no more than `most`. Texts of a group that follow one
    another stay together."""
    runs = np.split(np.arange(len(unit_P)), np.flatnonzero(np.diff(unit_P)) + 1)
    runs = [run for run in runs if len(run) and allowed_P[run[0]]]
    order = np.random.default_rng(seed).permutation(len(runs)).tolist()
    before = accumulate((len(runs[place]) for place in order), initial=0)
    drawn = [runs[place] for place, size in zip(order, before, strict=False) if size < MAX_PLACES]
    places = np.concatenate([np.zeros(0, int), *drawn])
    return places[:: -(-len(places) // most) or 1]


def enough_places(choices: tuple[int, int], shapes: Sequence[tuple[int, int]]) -> int:
    """At which no more than MAX_PAIRS are counted in all layers. A correlation that experts of any
    use reach is far above its error, 1 / sqrt(P); neighbouring tokens add the least to that."""
    pairs = choices[0] * choices[1]
    of_place = sum(
        experts * others // OF_PRODUCT + 1 if _by_product(pairs, (experts, others)) else pairs
        for experts, others in shapes
    )
    return max(MAX_PAIRS // max(of_place, 1), 1)
