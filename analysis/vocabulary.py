"""How much of an expert's work is single token ids, beyond what rare ids show by chance.

An occurrence counts once, for its first expert (rank 0), so that a share is a share of tokens.

V = token ids, E = routed experts, R = numbers of draws,
M = values of the maximum.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy import special

MIN_OCCURRENCES = 10
MAX_EXACT = 200  # draws; above it the expectation is a saddlepoint approximation
GRID = 32  # numbers of draws above it that are computed, and interpolated between
POINTS = 64  # values of the maximum whose chances are computed
NEWTON_STEPS = 30
FAR = 5  # standard errors
NEGLIGIBLE = 1e-12


def vocabulary_specialization(tokens_VE: np.ndarray) -> np.ndarray:
    """Largest share of an expert in each token id's occurrences [V]; 1 where it occurs once."""
    tokens_V = tokens_VE.sum(-1)
    if (tokens_V == 0).any():
        raise ValueError(f"token id at row {np.argmin(tokens_V)} never occurs; leave it out")
    return tokens_VE.max(-1) / tokens_V


def expected_specialization(tokens_R: np.ndarray, share_E: np.ndarray) -> np.ndarray:
    """E[max_e X_e] / n of n >= 1 draws from share_E, a layer's load of first choices [R]."""
    share_E = share_E[share_E > 0]
    expected_R = np.ones(tokens_R.shape)
    few_R = tokens_R <= MAX_EXACT
    if few_R.any():
        largest_n = _exact_largest(int(tokens_R[few_R].max()), share_E)
        expected_R[few_R] = largest_n[tokens_R[few_R]] / tokens_R[few_R]
    if not few_R.all():
        grid = np.unique(np.geomspace(MAX_EXACT, tokens_R.max(), GRID).round().astype(np.int64))
        shares = [_approximate_largest(n, share_E) / n for n in grid.tolist()]
        expected_R[~few_R] = np.interp(np.log(tokens_R[~few_R]), np.log(grid), shares)
    return expected_R


def corrected_specialization(observed_V: np.ndarray, expected_V: np.ndarray) -> np.ndarray:
    """0 for routing that ignores the token id, 1 for one expert; NaN where chance gives 1."""
    room_V = 1 - expected_V
    corrected_V = np.full(observed_V.shape, np.nan)
    return np.divide(observed_V - expected_V, room_V, out=corrected_V, where=room_V > 1e-9)


def vocabulary_table(
    tokens_VE: np.ndarray,
    token_ids: pd.DataFrame,
    *,
    min_occurrences: int = MIN_OCCURRENCES,
    expected_V: np.ndarray | None = None,
) -> pd.DataFrame:
    """A row a token id that occurs often enough, the most specialized first.

    token_id, text, occurrences, expert_id, share (of its busiest first expert), expected, corrected
    (empty where the layer's load leaves no room); rows of tokens_VE are those of token_ids.
    expected_V, of the ids that occur often enough, is slow: pass it if it is known.
    """
    expected_V, often_V = _expected_shares(tokens_VE, min_occurrences, expected_V)
    tokens_VE = tokens_VE[often_V]
    share_V = vocabulary_specialization(tokens_VE)
    table = token_ids.loc[often_V, ["token_id", "text"]].assign(
        occurrences=tokens_VE.sum(-1),
        expert_id=tokens_VE.argmax(-1),
        share=share_V,
        expected=expected_V,
        corrected=corrected_specialization(share_V, expected_V),
    )
    table = table.sort_values(["corrected", "occurrences"], ascending=False, kind="stable")
    return table.reset_index(drop=True).convert_dtypes()


def vocabulary_summary(
    tokens_VE: np.ndarray,
    *,
    min_occurrences: int = MIN_OCCURRENCES,
    expected_V: np.ndarray | None = None,
) -> dict[str, Any]:
    """A layer: means over token ids, each counted once.

    plain (every id that occurs, rare ones included), token_ids that occur often enough, token_share
    (of the tokens that these make up), share, expected, corrected, reason (why empty).
    """
    tokens_V = tokens_VE.sum(-1)
    if not tokens_V.any():
        return {"token_ids": 0, "reason": "no routed tokens"}
    plain = float(vocabulary_specialization(tokens_VE[tokens_V > 0]).mean())
    often_V = tokens_V >= min_occurrences
    row = {"plain": plain, "token_ids": int(often_V.sum())}
    if not often_V.any():
        return row | {"token_share": 0.0, "reason": f"no token id occurs {min_occurrences} times"}
    expected_V, _ = _expected_shares(tokens_VE, min_occurrences, expected_V)
    share_V = vocabulary_specialization(tokens_VE[often_V])
    corrected_V = corrected_specialization(share_V, expected_V)
    known = not np.isnan(corrected_V).any()
    return row | {
        "token_share": float(tokens_V[often_V].sum() / tokens_V.sum()),
        "share": float(share_V.mean()),
        "expected": float(expected_V.mean()),
        "corrected": float(corrected_V.mean()) if known else None,
        "reason": "" if known else "one expert is everyone's first",
    }


def _expected_shares(
    tokens_VE: np.ndarray, min_occurrences: int, expected_V: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Of the ids that occur often enough, and which these are; the load is that of all ids."""
    if not tokens_VE.any():
        raise ValueError("no routed tokens in this layer; capture a trace with tokens")
    tokens_V = tokens_VE.sum(-1)
    often_V = tokens_V >= max(min_occurrences, 1)
    if expected_V is not None:
        return expected_V, often_V
    share_E = tokens_VE.sum(0) / tokens_V.sum()
    return expected_specialization(tokens_V[often_V], share_E), often_V


def _exact_largest(most: int, share_E: np.ndarray) -> np.ndarray:
    """E[max_e X_e] for 0 to most draws.

    With Poisson counts instead of multinomial ones the experts are independent, so the chance that
    none exceeds m while n are drawn is a coefficient of a product of cut-off polynomials; over the
    chance of n draws it is the multinomial's. E[max] is the sum over m of P(max > m).
    """
    draws = np.arange(most + 1)
    chance_n = _poisson(draws, most)
    counts_EM = _poisson(draws, most * share_E[:, None])
    largest_n = np.zeros(most + 1)
    for m in range(most):
        below_n = np.ones(1)
        for count_M in counts_EM:
            below_n = np.convolve(below_n, count_M[: m + 1])[: most + 1]
        below_n = np.pad(below_n, (0, most + 1 - len(below_n)))
        above_n = np.clip(1 - below_n / chance_n, 0, 1)
        above_n[: m + 1] = 0  # m draws cannot exceed m
        largest_n += above_n
        if above_n.max() < NEGLIGIBLE:
            break
    return largest_n


def _poisson(count: np.ndarray, mean: float | np.ndarray) -> np.ndarray:
    """The chance of so many."""
    return np.exp(special.xlogy(count, mean) - mean - special.gammaln(count + 1))


def _approximate_largest(draws: int, share_E: np.ndarray) -> float:
    """The same for one large number of draws, each coefficient by a saddlepoint approximation of
    second order (Butler and Sutton 1998). A Poisson count cut off at m is tilted until the cut-off
    counts of all experts have the mean `draws`; experts that m never cuts off stay one Poisson
    count."""
    mean_E = draws * share_E
    second, most = np.sort(np.append(mean_E, 0.0))[-2:].tolist()
    spread = np.sqrt(most + second - (most - second) ** 2 / draws)  # of the gap between the two
    if most - second > FAR * spread:  # the busiest expert is always the maximum
        return most
    first = max(-(-draws // len(share_E)), int(most - 9 * np.sqrt(most)))
    last = min(draws, int(most + 10 * np.sqrt(most)) + 12)
    step = -(-max(last - first, 1) // POINTS)
    m_M = np.arange(first, last + step, step, dtype=float)
    cut_E = mean_E + 9 * np.sqrt(mean_E) + 9 > first
    rest, mean_E = mean_E[~cut_E].sum(), mean_E[cut_E]
    tilt_M = np.zeros(len(m_M))  # logarithms
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(NEWTON_STEPS):
            whole_ME, cumulants = _cut_poisson(m_M[:, None], np.exp(tilt_M)[:, None] * mean_E)
            mean_M, variance_M, third_M, fourth_M = (
                cumulant_ME.sum(-1) + rest * np.exp(tilt_M) for cumulant_ME in cumulants
            )
            step_M = (mean_M - draws) / variance_M
            tilt_M = tilt_M - np.clip(step_M, -1, 1)
            if not (np.abs(step_M) > 1e-8).any():
                break
        log_M = whole_ME.sum(-1) + rest * np.exp(tilt_M) - draws - draws * tilt_M
        second_M = fourth_M / (8 * variance_M**2) - 5 * third_M**2 / (24 * variance_M**3)
        below_M = np.exp(log_M) * np.sqrt(draws / variance_M)
        below_M *= (1 + second_M) / (1 - 1 / (12 * draws))  # over the chance of n draws, alike
    above_M = 1 - np.nan_to_num(below_M).clip(0, 1)  # NaN where no draws could be so even
    ends = (above_M[0] + above_M[-1]) / 2
    return max(first + step * (above_M.sum() - ends) + ends, most)


def _cut_poisson(m: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The logarithm of the sum of mean^j / j! for j up to m, and the first four cumulants of j."""
    below = special.pdtr(m, mean)
    lost = mean * _poisson(m, mean) / below
    room = m - mean + lost
    first = mean - lost
    second = first - lost * room
    third = second - lost * (1 + room) * room + lost * second
    fourth = third - lost * (1 + room) ** 2 * room + lost * second * (2 + 3 * room) + lost * third
    return np.log(below) + mean, (first, second, third, fourth)
