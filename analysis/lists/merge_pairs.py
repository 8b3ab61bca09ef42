"""Pairs of experts of a layer that the same words choose: candidates to be merged.

E = routed experts, V = token ids. Two experts are compared across halves of the texts, one in one
half and the other in the other: noise that two counts of one text share makes no pair alike, and an
expert and itself show what can be reached.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from analysis.halves import judging_half

MIN_CHOICES = 100  # of an expert: fewer say too little of its words
MIN_GROUPS = 4  # each half is split again
MIN_REACH = 0.05  # of a coefficient: where an expert is no nearer to itself, all choose alike
SPLITS = 5  # of the texts into halves, each of which makes a list of pairs of its own

Pairs = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Alike:
    """Of one layer. closeness_EE is 0 of two experts on average and 1 of an expert and itself in
    other texts; NaN where one is chosen too rarely to say."""

    closeness_EE: np.ndarray
    pairs: pd.DataFrame  # expert_a < expert_b, closeness, sure
    agreement: float  # pairs that the lists of two halves have in common; NaN: a half has none
    chance: float  # the same of random pairs
    held_out: float  # mean closeness, in one half of the texts, of the pairs of the other
    bound: float  # the same of as many of that half's own pairs, the closest ones


def merge_pairs(choices: pd.DataFrame, num_experts: int, *, count: int, seed: int = 0) -> Alike:
    """At most `count` pairs, no expert in two of them, of queries.token_id_choices(). `sure`: in
    which share of the lists of halves that know the pair it is; NaN: none of them knows it.
    ValueError: fewer than MIN_GROUPS groups of texts."""
    number = choices.unit.nunique()
    if number < MIN_GROUPS:
        groups = "1 group of texts has" if number == 1 else f"{number} groups of texts have"
        raise ValueError(
            f"{groups} choices here, and pairs are compared across {MIN_GROUPS} groups or more; "
            "the list to prune takes fewer"
        )
    choices = choices.assign(place=np.unique(choices.token_id, return_inverse=True)[1])
    closeness = [_closeness(choices, num_experts, seed=seed + split) for split in range(SPLITS)]
    closeness_EE = np.mean(closeness, 0)
    lists: list[tuple[np.ndarray, Pairs]] = []
    shared, measured, own = [], [], []
    for split in range(SPLITS):
        halves = [
            _closeness(half, num_experts, seed=seed + split)
            for half in _halves(choices, seed=seed + split)
        ]
        first, second = (_pairs(of_EE, count) for of_EE in halves)
        lists += zip(halves, (first, second), strict=True)
        if first and second:
            shared.append(len(set(first) & set(second)) / max(len(first), len(second)))
        for half_EE, of_other, of_own in (
            (halves[0], second, first),
            (halves[1], first, second),
        ):
            known = [value for value in _values(half_EE, of_other) if np.isfinite(value)]
            measured += known[: len(of_own)]
            own += _values(half_EE, of_own)[: len(known)]
    pairs = sorted(_pairs(closeness_EE, count))
    table = pd.DataFrame(pairs, columns=["expert_a", "expert_b"], dtype=int)
    table["closeness"] = _values(closeness_EE, pairs)
    table["sure"] = [
        _mean([float(pair in of) for of_EE, of in lists if np.isfinite(of_EE[pair])])
        for pair in pairs
    ]
    all_pairs = max(int(np.isfinite(closeness_EE).sum()) / 2, 1)
    return Alike(
        closeness_EE=closeness_EE,
        pairs=table,
        agreement=_mean(shared),
        chance=len(pairs) / all_pairs,
        held_out=_mean(measured),
        bound=_mean(own),
    )


def _halves(choices: pd.DataFrame, *, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    size = choices.groupby("unit").tokens.sum()
    second_N = judging_half(size.to_numpy(), np.zeros(len(size), int), seed=seed)
    in_second = second_N[size.index.get_indexer(pd.Index(choices.unit))]
    return choices[~in_second], choices[in_second]


def _closeness(choices: pd.DataFrame, num_experts: int, *, seed: int) -> np.ndarray:
    """Of every two experts across the halves of these texts [E, E], NaN on the diagonal."""
    known_E = np.bincount(choices.expert_id, choices.tokens, num_experts) >= MIN_CHOICES
    shape = num_experts, int(choices.place.to_numpy().max(initial=-1)) + 1
    first, second = (_roots(half, shape) for half in _halves(choices, seed=seed))
    similarity_EE = (first @ second.T).toarray()
    similarity_EE = (similarity_EE + similarity_EE.T) / 2
    others_EE = np.outer(known_E, known_E) & ~np.eye(num_experts, dtype=bool)
    usual = similarity_EE[others_EE].mean() if others_EE.any() else np.nan
    own_E = np.sqrt(np.diag(similarity_EE))
    reach_EE = np.outer(own_E, own_E) - usual
    closeness_EE = np.full(similarity_EE.shape, np.nan)
    np.divide(
        similarity_EE - usual, reach_EE, out=closeness_EE, where=others_EE & (reach_EE > MIN_REACH)
    )
    return closeness_EE


def _roots(choices: pd.DataFrame, shape: tuple[int, int]) -> sparse.csr_array:
    """Square roots of p(v | e) of some texts [E, V]: products of their rows add up to
    Bhattacharyya's coefficient."""
    cells = choices.expert_id.to_numpy(np.int64), choices.place.to_numpy()
    tokens_EV = sparse.csr_array((choices.tokens.to_numpy(float), cells), shape=shape)
    tokens_EV.sum_duplicates()
    per_expert_E = np.maximum(tokens_EV.sum(1), 1)
    tokens_EV.data = np.sqrt(tokens_EV.data / np.repeat(per_expert_E, np.diff(tokens_EV.indptr)))
    return tokens_EV


def _pairs(closeness_EE: np.ndarray, count: int) -> Pairs:
    """The closest two, then those of the others, and so on."""
    left_EE = np.nan_to_num(
        np.where(np.tri(len(closeness_EE), dtype=bool), np.nan, closeness_EE), nan=-np.inf
    )
    found: Pairs = []
    while len(found) < count and np.isfinite(left_EE.max(initial=-np.inf)):
        a, b = (int(place) for place in np.unravel_index(left_EE.argmax(), left_EE.shape))
        found.append((a, b))
        left_EE[[a, b]] = left_EE[:, [a, b]] = -np.inf
    return found


def _values(closeness_EE: np.ndarray, pairs: Pairs) -> list[float]:
    return [float(closeness_EE[pair]) for pair in pairs]


def _mean(values: list[float]) -> float:
    """Of those that are known."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else np.nan
