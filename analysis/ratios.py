"""A sum over documents divided by another, such as nats per token, with its 95 % interval.

N = documents, R = resamples.
"""

from typing import TypedDict

import numpy as np

from analysis.bootstrap import basic_interval, student_quantile
from analysis.significance import MIN_INTERVAL_DOCUMENTS


class Interval(TypedDict):
    """Of 95 %; the ends are NaN where too few documents were counted."""

    estimate: float
    low: float
    high: float


def resampled_ratio(
    weights_RN: np.ndarray, amount_N: np.ndarray, size_N: np.ndarray, of_N: np.ndarray
) -> np.ndarray:
    """Amount over size of the documents `of_N` in each resample; NaN where they have no size."""
    size_R = weights_RN[:, of_N] @ size_N[of_N].astype(float)
    amount_R = weights_RN[:, of_N] @ amount_N[of_N]
    return np.divide(amount_R, size_R, out=np.full_like(amount_R, np.nan), where=size_R > 0)


def ratio_interval(values_R: np.ndarray, num_documents: int) -> Interval:
    """The first value is the sample's own, the others its resamples'."""
    estimate, resampled_R = values_R[0], values_R[1:]
    if num_documents < MIN_INTERVAL_DOCUMENTS:
        return Interval(estimate=float(estimate), low=np.nan, high=np.nan)
    quantile = float(student_quantile(np.array(num_documents)))
    low, high = basic_interval(resampled_R, estimate, quantile)
    return Interval(estimate=float(estimate), low=float(low), high=float(high))
