"""The difference of two tables of the same figures, row by row, from their own intervals."""

import numpy as np
import pandas as pd
from scipy import special

from analysis.bootstrap import CONFIDENCE
from analysis.differences.differences import with_q

KEYS = (
    "layer_id",
    "metric",
    "expert_id",
    "expert_a",
    "expert_b",
    "next_expert_id",
    "domain",
    "figure",
    "k",
    "plan",
    "measure",
    "policy",
    "predictor",
    "slots",
    "name",
)
REACH = float(special.ndtri((1 + CONFIDENCE) / 2))


def table_difference(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame | None:
    """The keys that both have, first, second (their estimates, corrected where they say so),
    estimate, low, high (second - first), p, q; None where they have no estimates, or no row in
    common.

    The interval is made of the two (MOVER: Zou and Donner 2008), as if their texts had nothing in
    common: of the same texts it is too wide.
    """
    keys = [key for key in KEYS if key in first and key in second]
    if not keys or not {"estimate"} <= set(first) & set(second):
        return None
    columns = [*keys, *(name for name in ("estimate", "low", "high") if name in first)]
    if not set(columns) <= set(second) or first.duplicated(keys).any():
        return None
    first, second = _corrected(first), _corrected(second)
    both = first[columns].merge(second[columns], on=keys, suffixes=("", "_2"))
    if both.empty:
        return None
    numbers = both.drop(columns=keys).astype(float)
    frame = both[keys].copy()
    frame["first"], frame["second"] = numbers.estimate, numbers.estimate_2
    frame["estimate"] = numbers.estimate_2 - numbers.estimate
    if "low" not in columns or "high" not in columns:
        return frame
    below = np.hypot(numbers.estimate_2 - numbers.low_2, numbers.high - numbers.estimate)
    above = np.hypot(numbers.high_2 - numbers.estimate_2, numbers.estimate - numbers.low)
    frame["low"], frame["high"] = frame.estimate - below, frame.estimate + above
    towards_0 = np.where(frame.estimate > 0, below, above) / REACH
    with np.errstate(divide="ignore", invalid="ignore"):
        frame["p"] = 2 * special.ndtr(-np.abs(frame.estimate.to_numpy()) / towards_0)
    return with_q(frame)


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """With the estimate that the interval lies around."""
    if "corrected" not in table:
        return table
    return table.assign(estimate=table.corrected.where(table.low.notna(), table.estimate))
