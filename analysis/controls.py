"""Experts to compare a specialist with: chosen about as often in its domain, and not claimed to be
specialists of it.

E = routed experts, C = candidates.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

CONTROLS = 20  # of a claim, where there are as many
MIN_CONTROLS = 5
BANDS = (1.25, 1.5, 2.0, 3.0)  # the factor by which choices may differ, widened while too few do


def matched_controls(
    choices_E: np.ndarray, expert_id: int, candidates: Sequence[int], *, count: int = CONTROLS
) -> list[int]:
    """The first `count` candidates with like choices: of the narrowest band that has so many, or
    all of the widest."""
    candidate_C = np.array([expert for expert in candidates if expert != expert_id], dtype=int)
    own, choices_C = float(choices_E[expert_id]), choices_E[candidate_C]
    if own <= 0:
        return []
    near_C = candidate_C
    for band in BANDS:
        near_C = candidate_C[(choices_C * band >= own) & (choices_C <= own * band)]
        if len(near_C) >= count:
            break
    return [int(expert) for expert in near_C[:count]]


@cache
def random_order(num_experts: int, *, layer_id: int, seed: int) -> tuple[int, ...]:
    """The order in which the experts of a layer are drawn: one for all claims, which so share
    controls."""
    drawn = np.random.default_rng([seed, layer_id]).permutation(num_experts)
    return tuple(int(expert) for expert in drawn)
