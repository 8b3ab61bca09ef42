"""Two texts token by token: which tokens of one stand for tokens of the other, and how many of
these choose other experts.

I, J = tokens of the first and of the second text, T = tokens of one, P = tokens of both,
L = MoE layers, K = the most choices of a token in a layer.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.layers import in_threads
from analysis.matching.choices import Choices
from analysis.matching.flips import AMOUNTS, amounts
from data.routing import NO_EXPERT

MAX_TOKENS = 4_096  # of a text that are compared: the work grows with the product of both
UNRELATED = 400_000  # decisions, about as many as are compared for the null
GAP = -1  # the text has no token there
UP, LEFT, MATCH = range(3)
COUNTED = [AMOUNTS.index(name) for name in ("decisions", "flips", "choices", "exchanged")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFlips:
    compared_PL: np.ndarray  # bool: both chose an expert
    flipped_PL: np.ndarray  # bool: the chosen sets differ
    share_PL: np.ndarray  # of the choices, that the other did not make; NaN where not compared
    unrelated_L: np.ndarray  # flip rate between different tokens of these; NaN: there are none
    unrelated: float  # that flip in a layer or more

    def somewhere(self) -> np.ndarray:
        """Whether a token flips in a layer or more [P]."""
        return np.any(self.flipped_PL, -1)


def same_tokens(code_I: np.ndarray, code_J: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in both texts of tokens that are the same, in the order of both: those that both begin
    with, then as many as possible in as few runs as possible."""
    shortest = min(len(code_I), len(code_J))
    differs = np.flatnonzero(code_I[:shortest] != code_J[:shortest])
    start = int(differs[0]) if len(differs) else shortest
    rows, others = _longest(code_I[start:], code_J[start:])
    begin = np.arange(start)
    return np.concatenate([begin, start + rows]), np.concatenate([begin, start + others])


def _longest(code_I: np.ndarray, code_J: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By dynamic programming: a token is worth more than all runs, a run costs 1."""
    size, other_size = len(code_I), len(code_J)
    token = size + other_size + 1
    none = np.int32(-2 * token)
    best, ending = np.zeros(other_size + 1, np.int32), np.full(other_size + 1, none)
    step_IJ = np.full((size + 1, other_size + 1), UP, np.int8)
    goes_on_IJ = np.zeros(step_IJ.shape, bool)
    for row in range(1, size + 1):
        same = code_I[row - 1] == code_J
        goes_on_IJ[row, 1:] = ending[:-1] >= best[:-1] - 1
        match = np.full(other_size + 1, none)
        match[1:][same] = token + np.maximum(ending[:-1], best[:-1] - 1)[same]
        here = np.maximum.accumulate(np.maximum(best, match))
        step_IJ[row] = np.where(here == best, UP, np.where(here == match, MATCH, LEFT))
        best, ending = here, match
    return _traced(step_IJ, goes_on_IJ)


def _traced(step_IJ: np.ndarray, goes_on_IJ: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Back from the end of both texts."""
    row, other, in_run = step_IJ.shape[0] - 1, step_IJ.shape[1] - 1, False
    rows, others = [], []
    while row and other:
        step = MATCH if in_run else step_IJ[row, other]
        if step == MATCH:
            in_run = bool(goes_on_IJ[row, other])
            row, other = row - 1, other - 1
            rows.append(row)
            others.append(other)
        elif step == UP:
            row -= 1
        else:
            other -= 1
    return np.array(rows[::-1], int), np.array(others[::-1], int)


def columns(row_P: np.ndarray, other_row_P: np.ndarray, sizes: tuple[int, int]) -> pd.DataFrame:
    """first, second (places in the texts, or GAP), same: the texts one above the other. Between
    tokens that are the same, as many as possible of those that are not share columns."""
    first: list[int] = []
    second: list[int] = []
    same: list[bool] = []
    place, other_place = 0, 0
    for row, other in [*zip(row_P.tolist(), other_row_P.tolist(), strict=True), sizes]:
        width = max(row - place, other - other_place)
        for column, begin, end in ((first, place, row), (second, other_place, other)):
            column += [*range(begin, end), *[GAP] * (width - (end - begin)), end]
        same += [*[False] * width, True]
        place, other_place = row + 1, other + 1
    ended = slice(len(same) - 1)  # there is no token after both
    return pd.DataFrame({"first": first[ended], "second": second[ended], "same": same[ended]})


def text_choices(routing: pd.DataFrame, num_layers: int) -> Choices:
    """Of every token of a text, as queries.document_routing gives it, without what was dropped."""
    token_C = np.unique(routing.position, return_inverse=True)[1]
    made = (~routing.dropped & (routing.expert_id != NO_EXPERT)).to_numpy()
    chosen, token_C = routing[made], token_C[made]
    rank_C = chosen["rank"].to_numpy(int)
    shape = routing.position.nunique(), num_layers
    ids_TLK = np.full((*shape, rank_C.max(initial=0) + 1), NO_EXPERT, np.int16)
    weights_TLK = np.full(ids_TLK.shape, np.nan, np.float32)
    margin_TL = np.full(shape, np.nan, np.float32)
    place = token_C, chosen.layer_id.to_numpy()
    ids_TLK[*place, rank_C] = chosen.expert_id
    weights_TLK[*place, rank_C] = chosen.weight
    margin_TL[place] = chosen.margin
    return Choices(ids_PLK=ids_TLK, weights_PLK=weights_TLK, margin_PL=margin_TL)


def pair_flips(
    first: Choices, second: Choices, experts_L: np.ndarray, *, code_P: np.ndarray, seed: int = 0
) -> PairFlips:
    """Of tokens that stand for one another, alike where they have one code. For the null each is
    compared with different tokens of the second text, with all of them where these are few."""
    num_places = len(first.ids_PLK)
    counted_PLA = _counted(first, second, experts_L, np.arange(num_places))
    compared_PL, flipped_PL = counted_PLA[..., 0] > 0, counted_PLA[..., 1] > 0
    choices_PL = np.where(compared_PL, counted_PLA[..., 2], np.nan)
    rates, somewhere = [], []
    for shift in _shifts(num_places, num_places * len(experts_L), seed=seed):
        other_P = np.roll(np.arange(num_places), shift)
        differs_P11 = (code_P != code_P[other_P])[:, None, None]
        unrelated_PLA = _counted(first, second, experts_L, other_P) * differs_P11
        rates.append(unrelated_PLA[..., :2].sum(0))
        somewhere.append((unrelated_PLA[..., :2] > 0).any(1).sum(0))
    return PairFlips(
        compared_PL=compared_PL,
        flipped_PL=flipped_PL,
        share_PL=counted_PLA[..., 3] / choices_PL,
        unrelated_L=_ratio(np.sum([np.zeros((len(experts_L), 2)), *rates], 0)),
        unrelated=float(_ratio(np.sum([np.zeros(2), *somewhere], 0))),
    )


def _counted(
    first: Choices, second: Choices, experts_L: np.ndarray, other_P: np.ndarray
) -> np.ndarray:
    unknown_P = np.full(len(other_P), np.nan, np.float32)  # margins are not looked at

    def of_layer(layer_id: int) -> np.ndarray:
        size = int(experts_L[layer_id])
        counted_PA = amounts(first, second, layer_id, size, unknown_P, other_P=other_P)
        return counted_PA[:, COUNTED]

    return np.stack(in_threads(of_layer, len(experts_L)), 1)


def _shifts(num_places: int, decisions: int, *, seed: int) -> np.ndarray:
    """By how many places, from 1."""
    others = max(num_places - 1, 0)
    count = min(others, max(UNRELATED // max(decisions, 1), 1))
    return 1 + np.random.default_rng(seed).permutation(others)[:count]


def _ratio(sums: np.ndarray) -> np.ndarray:
    """Of flips and decisions, in the last dimension decisions first."""
    decisions, flips = sums[..., 0], sums[..., 1]
    return np.divide(flips, decisions, out=np.full(flips.shape, np.nan), where=decisions > 0)
