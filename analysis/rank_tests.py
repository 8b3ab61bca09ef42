"""Whether an expert stands out among its controls.

C = controls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special


@dataclass(frozen=True, slots=True)
class Standing:
    """Student's tail probability of an expert among its controls, and of each control among the
    others."""

    tail: float
    control_tail_C: np.ndarray
    above: int  # controls whose figure is as large


def standing(
    value: float, variance: float, value_C: np.ndarray, variance_C: np.ndarray
) -> Standing:
    """The variances are of the measurement: an expert that is measured less precisely than its
    controls lies further from their mean without being another."""
    count = len(value_C)
    mean, noise = value_C.mean(), variance_C.mean()
    spread = value_C.var(ddof=1)
    rest_C = (value_C.sum() - value_C) / (count - 1)
    noise_C = (variance_C.sum() - variance_C) / (count - 1)
    squares_C = ((value_C - mean) ** 2).sum() - (value_C - mean) ** 2 * count / (count - 1)
    spread_C = np.maximum(squares_C, 0) / (count - 2)
    return Standing(
        tail=float(_tail(value - mean, spread, variance - noise, count)),
        control_tail_C=_tail(value_C - rest_C, spread_C, variance_C - noise_C, count - 1),
        above=int((value_C >= value).sum()),
    )


def rank_p(
    references: Sequence[Standing | None], tested: Sequence[Standing | None], *, num_controls: int
) -> np.ndarray:
    """p of each of `tested`: its rank by the tail among the controls of all references; NaN where
    there is none. `num_controls`: how many of these controls are different ones."""
    pools = [of.control_tail_C for of in references if of is not None]
    tail = np.array([np.nan if of is None else of.tail for of in tested])
    if not pools:
        return np.full(len(tail), np.nan)
    pool = np.sort(np.concatenate(pools))
    share = np.searchsorted(pool, tail, side="right") / len(pool)
    return np.where(np.isnan(tail), np.nan, (1 + share * num_controls) / (1 + num_controls))


def _tail(
    distance: np.ndarray | float, spread: np.ndarray | float, noise: np.ndarray | float, count: int
) -> np.ndarray:
    """P(Student's >= distance) from the mean of `count` controls of this spread; `noise`: how much
    more than theirs the variance of the measurement is."""
    variance = spread * (1 + 1 / count) + np.maximum(noise, 0)
    away = np.divide(distance, np.sqrt(np.maximum(variance, 1e-300)))
    return special.stdtr(count - 1, -away)
