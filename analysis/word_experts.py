"""Which experts the occurrences of a word choose, beyond what the experts' loads explain.

N = groups, L = MoE layers, E = routed experts, C = cells: a group and an expert that go together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.excess import excess_tests, variance_of_sums, why_untested
from analysis.permutation import adjusted

COLUMNS = (
    *("layer_id", "expert_id", "tokens", "share", "load", "expected"),
    *("lift", "low", "high", "p", "q", "n_groups", "note"),
)


@dataclass(frozen=True, slots=True)
class WordSums:
    """Over the groups with the word: of its choices of each expert, of their squares, and of them
    times all of its choices by the group in the layer."""

    tokens_LE: np.ndarray
    squares_LE: np.ndarray
    by_length_LE: np.ndarray
    n_groups: int

    @classmethod
    def of(cls, choices: pd.DataFrame, *, num_layers: int, num_experts: int) -> "WordSums":
        """Of rows group, layer_id, expert_id, tokens; a group may have several of the same."""
        cells = choices.groupby(["group", "layer_id", "expert_id"], as_index=False).tokens.sum()
        length = cells.groupby(["group", "layer_id"]).tokens.transform("sum").to_numpy(float)
        tokens, place = cells.tokens.to_numpy(float), (cells.layer_id, cells.expert_id)
        sums = np.zeros((3, num_layers, num_experts))
        for sum_LE, of_C in zip(sums, (tokens, tokens**2, tokens * length), strict=True):
            np.add.at(sum_LE, place, of_C)
        return cls(sums[0], sums[1], sums[2], n_groups=choices.group.nunique())


def word_lift_table(of: WordSums, load_LE: np.ndarray, *, experts_L: np.ndarray) -> pd.DataFrame:
    """A row a layer and expert, those that the word never chose included.

    layer_id, expert_id, tokens (choices by the word), share (of the word's choices in the layer),
    load (the expert's share of all choices there), expected, lift, low, high (95 %), p, q (over all
    rows), n_groups (with the word), note (why there is no interval, else empty). `load_LE`: choices
    of all tokens, which count for certain.
    """
    table = pd.concat(_layers(of, load_LE, experts_L), ignore_index=True)
    return table.assign(q=adjusted(table.p), n_groups=of.n_groups)[list(COLUMNS)]


def _layers(of: WordSums, load_LE: np.ndarray, experts_L: np.ndarray) -> Iterator[pd.DataFrame]:
    for layer_id, experts in enumerate(experts_L.tolist()):
        tokens_E, squares_E, by_length_E, load_E = (
            of_LE[layer_id, :experts]
            for of_LE in (of.tokens_LE, of.squares_LE, of.by_length_LE, load_LE)
        )
        size, square = tokens_E.sum(), by_length_E.sum()  # of the groups' choices, and of squares
        share_E = load_E / max(load_E.sum(), 1)
        expected_E, effective = share_E * size, size**2 / max(square, 1)
        spread_E = np.zeros(experts)
        if size:
            spread_E = variance_of_sums(
                size,
                square,
                tokens_E - expected_E,
                by_length_E - share_E * square,
                squares_E - 2 * share_E * by_length_E + share_E**2 * square,
            )
        least_E = expected_E * (1 - share_E)  # of independent choices
        tested = excess_tests(
            tokens_E, expected_E, spread_P=spread_E, least_P=least_E, effective=effective
        )
        untested_E = why_untested(expected_E, effective=effective)
        why = ["never chosen", "the layer has one expert"]
        note_E = np.select([load_E == 0, share_E == 1], why, untested_E)
        yield tested.assign(
            layer_id=layer_id,
            expert_id=np.arange(experts),
            tokens=tokens_E.astype(int),
            share=tokens_E / size if size else np.nan,
            load=share_E if load_E.any() else np.nan,
            note=np.where(tested.p.isna(), note_E, ""),
        )
