"""What the domain tells about the expert once the token is known.

T = tokens, N = groups, C = choices (tokens times k), V = token ids, E = routed experts.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from analysis.bootstrap import CONFIDENCE, basic_interval, bootstrap_weights, jackknife_quantile
from analysis.groups import too_few

SHUFFLES = 10  # of domains within token ids: their mean varies little
PERMUTATIONS = 50  # of domains over groups


@dataclass(frozen=True, slots=True)
class ConditionalInformation:
    """I(expert; domain | token id) of one layer, in nats per choice."""

    plug_in: float
    null: float  # mean after shuffling domains within token id: what finite counts give
    group_excess: float  # what any division of these groups has beyond such a null
    corrected: float  # plug_in - null - group_excess
    low: float  # of a 95 % interval, by corrected, which takes off rather too much
    high: float  # by plug_in, which takes off nothing; both NaN where groups are few or all alike
    p: float  # over permutations of domains among groups


def conditional_information(
    chosen_TE: np.ndarray,
    token_id_T: np.ndarray,
    group_T: np.ndarray,
    domain_id_T: np.ndarray,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> ConditionalInformation:
    """Plug-in estimate against shuffles within token id, and against groups dealt at random."""
    counts = _counts(chosen_TE, token_id_T, group_T)
    domains, domain_T = np.unique(domain_id_T, return_inverse=True)
    if len(domains) < 2:
        raise ValueError("all tokens are of one domain; label texts of two or more domains")
    domain_N = domain_T[np.unique(group_T, return_index=True)[1]]
    rng = np.random.default_rng(seed)
    plug_in_N = counts.by_group(domain_T)
    null_N = np.mean([counts.by_group(counts.shuffle(domain_T, rng)) for _ in range(SHUFFLES)], 0)
    num_choices = counts.choices_N.sum()
    plug_in, null = max(float(plug_in_N.sum()), 0.0) / num_choices, null_N.sum() / num_choices
    dealt = [rng.permutation(domain_N)[counts.group_T] for _ in range(permutations)]
    dealt_R = np.array([counts.estimate(dealt_T) for dealt_T in dealt])
    least = np.mean([counts.estimate(counts.shuffle(dealt_T, rng)) for dealt_T in dealt])
    if min(null, least) < 1e-12:
        raise ValueError(
            "no token id meets two domains and two experts: nothing is left to say beyond the token"
        )
    ratio = dealt_R / least
    p = float((1 + (ratio >= plug_in / null - 1e-9).sum()) / (1 + permutations))
    excess = float(null * (ratio.mean() - 1))
    low, _ = _interval(plug_in_N - null_N * ratio.mean(), counts.choices_N, domain_N, seed=seed)
    _, high = _interval(plug_in_N, counts.choices_N, domain_N, seed=seed)
    if np.isnan(low + high):
        low = high = np.nan
    low = min(low, 0.0) if p > 1 - CONFIDENCE else low
    beyond = float(plug_in - null - excess)
    return ConditionalInformation(float(plug_in), float(null), excess, beyond, low, high, p)


@dataclass(frozen=True, slots=True)
class _Counts:
    """The choices, and in which (token id, expert) and token id each counts."""

    token_C: np.ndarray
    cell_C: np.ndarray
    id_T: np.ndarray
    group_T: np.ndarray  # counted from 0
    choices_N: np.ndarray

    def estimate(self, domain_T: np.ndarray) -> float:
        """Plug-in information, nats per choice."""
        cells, given, fixed = self._with_domain(domain_T)
        sums = _log_sum(cells) - _log_sum(given) - _log_sum(self.cell_C) + _log_sum(fixed)
        return sums / len(self.token_C)

    def by_group(self, domain_T: np.ndarray) -> np.ndarray:
        """What each group adds to the estimate times the choices, nats [N]."""
        cells, given, fixed = self._with_domain(domain_T)
        nats_C = _log_count(cells) - _log_count(given) - _log_count(self.cell_C)
        nats_C += _log_count(fixed)
        return np.bincount(self.group_T[self.token_C], nats_C, minlength=len(self.choices_N))

    def shuffle(self, domain_T: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Domains dealt again among the occurrences of each token id."""
        shuffled_T = np.empty_like(domain_T)
        by_id_T = np.argsort(self.id_T, kind="stable")
        shuffled_T[by_id_T] = domain_T[np.lexsort((rng.random(len(self.id_T)), self.id_T))]
        return shuffled_T

    def _with_domain(self, domain_T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        domain_C, id_C = domain_T[self.token_C], self.id_T[self.token_C]
        num_domains = domain_T.max() + 1
        return self.cell_C * num_domains + domain_C, id_C * num_domains + domain_C, id_C


def _counts(chosen_TE: np.ndarray, token_id_T: np.ndarray, group_T: np.ndarray) -> _Counts:
    token_C, expert_C = np.nonzero(chosen_TE)
    if len(token_C) == 0:
        raise ValueError("no routed tokens in this layer; capture a trace with tokens")
    id_T = np.unique(token_id_T, return_inverse=True)[1]
    row_T = np.unique(group_T, return_inverse=True)[1]
    cell = id_T[token_C] * chosen_TE.shape[-1] + expert_C
    cell_C = np.unique(cell, return_inverse=True)[1]
    choices_N = np.bincount(row_T[token_C], minlength=row_T.max() + 1)
    return _Counts(token_C, cell_C, id_T, row_T, choices_N)


def _interval(
    beyond_N: np.ndarray, choices_N: np.ndarray, domain_id_N: np.ndarray, *, seed: int
) -> tuple[float, float]:
    """Of what groups add, over their choices: the tables stay, groups are drawn again."""
    if too_few(choices_N, domain_id_N):
        return np.nan, np.nan
    weights_RN = bootstrap_weights(domain_id_N, seed=seed)
    resampled_R = (weights_RN @ beyond_N) / (weights_RN @ choices_N)
    error = float(resampled_R.std())
    if error < 1e-9:  # groups all alike, but for rounding
        return np.nan, np.nan
    without_N = (beyond_N.sum() - beyond_N) / (choices_N.sum() - choices_N)
    quantile = jackknife_quantile(without_N, domain_id_N, error=error)
    estimate = np.array(beyond_N.sum() / choices_N.sum())
    low, high = basic_interval(resampled_R, estimate, quantile)
    return float(low), float(high)


def _log_sum(cells_C: np.ndarray) -> float:
    """Sum over cells of n ln n."""
    tokens = np.bincount(cells_C)
    return float(xlogy(tokens, tokens).sum())


def _log_count(cells_C: np.ndarray) -> np.ndarray:
    """ln n of the cell of every choice."""
    return np.log(np.maximum(np.bincount(cells_C), 1))[cells_C]
