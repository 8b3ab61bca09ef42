"""How firmly a router chooses: the choices that a small change of the input flips.

N = documents or groups of them, L = MoE layers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.groups import summed, units
from analysis.ratios import Interval, share_interval
from data.labels import name_of
from data.routing import Document


def flipped_share(
    flipped_NL: np.ndarray, choices_NL: np.ndarray, domain_id_N: np.ndarray
) -> Interval:
    """Share of the choices that are not made again for the changed input, over all layers; the
    interval is that of other groups, a row each."""
    if choices_NL.shape != flipped_NL.shape or not choices_NL.sum():
        raise ValueError(
            f"found choices {choices_NL.shape} and flips {flipped_NL.shape}, "
            f"{int(choices_NL.sum())} choices: give both of the same documents, and some choices"
        )
    return share_interval(flipped_NL.sum(1), choices_NL.sum(1), domain_id_N)


def flipped_share_null(mean_k: float, num_experts: int) -> float:
    """Of a router that chooses anew at random: 1 - k / E."""
    return 1 - mean_k / num_experts


class Choices(NamedTuple):
    """What the gates chose for every token, texts cut to the context."""

    document_T: np.ndarray  # whose token, by place
    chosen_TLE: np.ndarray


def changed_choices(
    before: Choices, after: Choices, documents: Sequence[Document]
) -> dict[str, float | None]:
    """Share of the gates' choices that the smaller model does not make: estimate, low, high."""
    lost_TLE = before.chosen_TLE & ~after.chosen_TLE
    flipped_NL, choices_NL = (
        np.zeros((len(documents), before.chosen_TLE.shape[1])) for _ in range(2)
    )
    np.add.at(flipped_NL, before.document_T, lost_TLE.sum(-1))
    np.add.at(choices_NL, before.document_T, before.chosen_TLE.sum(-1))
    domain_N = [name_of(document.domain) for document in documents]
    unit_N = units(domain_N, [document.group for document in documents])
    domain_id_N = np.unique(domain_N, return_inverse=True)[1][np.unique(unit_N)]
    share = flipped_share(summed(flipped_NL, unit_N), summed(choices_NL, unit_N), domain_id_N)
    known = {"estimate": share["estimate"], "low": share["low"], "high": share["high"]}
    return {name: None if np.isnan(value) else value for name, value in known.items()}
