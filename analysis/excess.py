"""A count against what is expected of it, tested by its spread over groups.

N = groups, P = counts that are tested together: pairs, transitions.
"""

import numpy as np
import pandas as pd
from scipy import special

from analysis.groups import MIN_EFFECTIVE, NOT_ENOUGH
from analysis.permutation import adjusted

MIN_EXPECTED = 5  # tokens; below it a count is too far from normal
NO_OTHER = "the loads of the two experts allow no other number"


def group_variance(
    tokens_N: np.ndarray, sum_P: np.ndarray, by_length_P: np.ndarray, square_P: np.ndarray
) -> np.ndarray:
    """Variance of a sum of residuals over groups, from the sums of the residuals, of those
    times the length, and of their squares.

    What a group adds to the difference in proportion to its length is the effect, not spread.
    """
    lengths = float(tokens_N.sum()), float(tokens_N @ tokens_N)
    return variance_of_sums(*lengths, sum_P, by_length_P, square_P)


def variance_of_sums(
    length: float,
    square_length: float,
    sum_P: np.ndarray,
    by_length_P: np.ndarray,
    square_P: np.ndarray,
) -> np.ndarray:
    """group_variance() from the sums of the groups' lengths and of their squares."""
    effective, rate_P = length**2 / max(square_length, 1e-300), sum_P / length
    square_P = square_P - 2 * rate_P * by_length_P + rate_P**2 * square_length
    return square_P * effective / max(effective - 1, 1)


def why_untested(expected_P: np.ndarray, *, effective: float) -> np.ndarray:
    """Of what excess_tests() leaves without a test."""
    rare_P = expected_P < MIN_EXPECTED
    why_P = np.where(rare_P, f"fewer than {MIN_EXPECTED} tokens expected", NO_OTHER)
    return np.where(effective < MIN_EFFECTIVE, NOT_ENOUGH, why_P)


def excess_tests(
    tokens_P: np.ndarray,
    expected_P: np.ndarray,
    *,
    spread_P: np.ndarray,
    least_P: np.ndarray,
    effective: float,
) -> pd.DataFrame:
    """expected, lift and the ends low and high of its 95 % interval, z, p and q.

    The variance of z is spread_P over groups, as many as `effective` of one size, and at least that
    of independent tokens, least_P.
    """
    lift_P = np.divide(
        tokens_P, expected_P, out=np.full(len(expected_P), np.nan), where=expected_P > 0
    )
    enough_P = (expected_P >= MIN_EXPECTED) & (least_P > 0) & (effective >= MIN_EFFECTIVE)
    deviation_P = np.sqrt(np.where(enough_P, np.maximum(spread_P, least_P), 1))
    z_P = np.where(enough_P, (tokens_P - expected_P) / deviation_P, np.nan)
    freedom = max(effective - 1, 1)
    p_P = pd.Series(2 * special.stdtr(freedom, -np.abs(z_P)))
    reach_P = special.stdtrit(freedom, 0.975) * deviation_P
    safe_P = np.where(enough_P, expected_P, 1)
    return pd.DataFrame(
        {
            "expected": expected_P,
            "lift": lift_P,
            "low": np.where(enough_P, np.maximum(tokens_P - reach_P, 0) / safe_P, np.nan),
            "high": np.where(enough_P, (tokens_P + reach_P) / safe_P, np.nan),
            "z": z_P,
            "p": p_P,
            "q": adjusted(p_P),
        }
    )
