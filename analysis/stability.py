"""How firmly a router chooses: the choices that a small change of the input flips.

N = documents, L = MoE layers, R = resamples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.bootstrap import bootstrap_weights
from analysis.ratios import Interval, ratio_interval, resampled_ratio
from data.routing import UNLABELLED, Document


def flipped_share(
    flipped_NL: np.ndarray, choices_NL: np.ndarray, domain_id_N: np.ndarray, *, seed: int = 0
) -> Interval:
    """Share of the choices that are not made again for the changed input, over all layers; the
    interval is that of other documents."""
    if choices_NL.shape != flipped_NL.shape or not choices_NL.sum():
        raise ValueError(
            f"found choices {choices_NL.shape} and flips {flipped_NL.shape}, "
            f"{int(choices_NL.sum())} choices: give both of the same documents, and some choices"
        )
    own = np.ones((1, len(domain_id_N)))
    weights_RN = np.concatenate([own, bootstrap_weights(domain_id_N, seed=seed)])
    everyone_N = np.ones(len(domain_id_N), dtype=bool)
    values_R = resampled_ratio(weights_RN, flipped_NL.sum(1), choices_NL.sum(1), everyone_N)
    return ratio_interval(values_R, int(np.bincount(domain_id_N).min()))


def flipped_share_null(mean_k: float, num_experts: int) -> float:
    """Of a router that chooses anew at random: 1 - k / E."""
    return 1 - mean_k / num_experts


class Choices(NamedTuple):
    """What the gates chose for every token, texts cut to the context."""

    document_T: np.ndarray  # whose token, by place
    chosen_TLE: np.ndarray


def changed_choices(
    before: Choices, after: Choices, documents: Sequence[Document], *, seed: int
) -> dict[str, float | None]:
    """Share of the gates' choices that the smaller model does not make: estimate, low, high."""
    lost_TLE = before.chosen_TLE & ~after.chosen_TLE
    flipped_NL, choices_NL = (
        np.zeros((len(documents), before.chosen_TLE.shape[1])) for _ in range(2)
    )
    np.add.at(flipped_NL, before.document_T, lost_TLE.sum(-1))
    np.add.at(choices_NL, before.document_T, before.chosen_TLE.sum(-1))
    domain_N = [document.domain or UNLABELLED for document in documents]
    domain_id_N = np.unique(domain_N, return_inverse=True)[1]
    share = flipped_share(flipped_NL, choices_NL, domain_id_N, seed=seed)
    known = {"estimate": share["estimate"], "low": share["low"], "high": share["high"]}
    return {name: None if np.isnan(value) else value for name, value in known.items()}
