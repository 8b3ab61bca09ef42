"""How much of an expert's work is single token ids, beyond what rare ids show by chance.

An occurrence counts once, for its first expert (rank 0), so that a share is a share of tokens.

V = token ids, E = routed experts, R = numbers of draws.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

MIN_OCCURRENCES = 10
MAX_EXACT = 200  # draws; above it the expectation is a mean over simulations
GRID = 32  # numbers of draws that are simulated, and interpolated between
SIMULATIONS = 4_000
NEGLIGIBLE = 1e-12


def vocabulary_specialization(tokens_VE: np.ndarray) -> np.ndarray:
    """Largest share of an expert in each token id's occurrences [V]; 1 where it occurs once."""
    tokens_V = tokens_VE.sum(-1)
    if (tokens_V == 0).any():
        raise ValueError(f"token id at row {np.argmin(tokens_V)} never occurs; leave it out")
    return tokens_VE.max(-1) / tokens_V


def expected_specialization(
    tokens_R: np.ndarray, share_E: np.ndarray, *, seed: int = 0
) -> np.ndarray:
    """E[max_e X_e] / n of n >= 1 draws from share_E, a layer's load of first choices [R]."""
    share_E = share_E[share_E > 0]
    expected_R = np.ones(tokens_R.shape)
    few_R = tokens_R <= MAX_EXACT
    if few_R.any():
        largest_n = _exact_largest(int(tokens_R[few_R].max()), share_E)
        expected_R[few_R] = largest_n[tokens_R[few_R]] / tokens_R[few_R]
    if not few_R.all():
        rng = np.random.default_rng(seed)
        grid = np.unique(np.geomspace(MAX_EXACT, tokens_R.max(), GRID).round().astype(np.int64))
        shares = [rng.multinomial(n, share_E, SIMULATIONS).max(-1).mean() / n for n in grid]
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
    layers: Sequence[np.ndarray],
    *,
    min_occurrences: int = MIN_OCCURRENCES,
    expected: Sequence[np.ndarray | None] | None = None,
) -> pd.DataFrame:
    """A row a layer, from its tokens_VE; means over token ids, each counted once.

    layer_id, plain (every id that occurs, rare ones included), token_ids that occur often enough,
    token_share (of the tokens that these make up), share, expected, corrected, reason (why empty).
    """
    known = [None] * len(layers) if expected is None else expected
    rows = [
        _summary(tokens_VE, min_occurrences, expected_V)
        for tokens_VE, expected_V in zip(layers, known, strict=True)
    ]
    return pd.DataFrame(rows).rename_axis("layer_id").reset_index().convert_dtypes()


def _summary(
    tokens_VE: np.ndarray, min_occurrences: int, expected_V: np.ndarray | None
) -> dict[str, object]:
    tokens_V = tokens_VE.sum(-1)
    if not tokens_V.any():
        return {"token_ids": 0, "reason": "no routed tokens"}
    plain = vocabulary_specialization(tokens_VE[tokens_V > 0]).mean()
    often_V = tokens_V >= min_occurrences
    row = {"plain": plain, "token_ids": int(often_V.sum())}
    if not often_V.any():
        return row | {"token_share": 0.0, "reason": f"no token id occurs {min_occurrences} times"}
    expected_V, _ = _expected_shares(tokens_VE, min_occurrences, expected_V)
    share_V = vocabulary_specialization(tokens_VE[often_V])
    corrected_V = corrected_specialization(share_V, expected_V)
    known = not np.isnan(corrected_V).any()
    return row | {
        "token_share": tokens_V[often_V].sum() / tokens_V.sum(),
        "share": share_V.mean(),
        "expected": expected_V.mean(),
        "corrected": corrected_V.mean() if known else None,
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
    chance_n = stats.poisson.pmf(draws, most)
    counts_EM = stats.poisson.pmf(draws, most * share_E[:, None])
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
