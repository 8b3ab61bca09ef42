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
    true_T = counts.of_groups(domain_N)
    plug_in_N = counts.by_group(true_T)
    null_N = np.mean([counts.by_group(counts.shuffle(true_T, rng)) for _ in range(SHUFFLES)], 0)
    num_choices = counts.choices_N.sum()
    plug_in, null = max(float(plug_in_N.sum()), 0.0) / num_choices, null_N.sum() / num_choices
    dealt = [rng.permutation(domain_N) for _ in range(permutations)]
    dealt_R = np.array([counts.estimate(counts.of_groups(dealt_N)) for dealt_N in dealt])
    least_R = [counts.estimate(counts.shuffle(counts.of_groups(dealt_N), rng)) for dealt_N in dealt]
    least = np.mean(least_R)
    if min(null, least) < 1e-12:
        raise ValueError(
            "no token id meets two domains and two experts: nothing is left to say beyond the token"
        )
    ratio = dealt_R / least
    p = float((1 + (ratio >= plug_in / null - 1e-9).sum()) / (1 + permutations))
    excess = float(null * (ratio.mean() - 1))
    low, high = _interval(
        plug_in_N - null_N * ratio.mean(), plug_in_N, counts.choices_N, domain_N, seed=seed
    )
    low = min(low, 0.0) if p > 1 - CONFIDENCE else low
    beyond = float(plug_in - null - excess)
    return ConditionalInformation(float(plug_in), float(null), excess, beyond, low, high, p)


@dataclass(frozen=True, slots=True)
class _Counts:
    """The tokens in the order of their ids, and their choices in cells (token id, expert) of two or
    more, in the order of the cells: the logarithm of a lone choice is 0."""

    id_T: np.ndarray  # these four from 0
    group_T: np.ndarray
    place_C: np.ndarray  # of its token
    cell_C: np.ndarray
    k_T: np.ndarray
    by_id_T: np.ndarray  # where the token was
    choices_N: np.ndarray
    n_log_n: np.ndarray  # of 0 to all choices
    fixed: float  # the part of the estimate that no domains change

    def of_groups(self, domain_N: np.ndarray) -> np.ndarray:
        """Of every token, int64."""
        return domain_N[self.group_T]

    def estimate(self, domain_T: np.ndarray) -> float:
        """Plug-in information, nats per choice."""
        in_cell, given = self._with_domain(domain_T)[:2]
        sums = self._sum(in_cell) - self._sum(given) + self.fixed
        return sums / self.choices_N.sum()

    def by_group(self, domain_T: np.ndarray) -> np.ndarray:
        """What each group adds to the estimate times the choices, nats [N]."""
        in_cell, given, cell_C, given_T = self._with_domain(domain_T)
        share_C = np.log(in_cell[cell_C] / np.bincount(self.cell_C)[self.cell_C])
        of_id_T = np.bincount(self.id_T, self.k_T)[self.id_T]
        share_T = np.log(np.maximum(given[given_T], 1) / np.maximum(of_id_T, 1))  # 1: none chosen
        num_groups = len(self.choices_N)
        nats_N = np.bincount(self.group_T[self.place_C], share_C, minlength=num_groups)
        return nats_N - np.bincount(self.group_T, self.k_T * share_T, minlength=num_groups)

    def shuffle(self, domain_T: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Domains dealt again among the occurrences of each token id."""
        chance_T = rng.random(len(self.id_T))[self.by_id_T]
        domain_bits = int(domain_T.max()).bit_length()
        chance_bits = 64 - domain_bits - int(self.id_T[-1]).bit_length()
        key_T = self.id_T.astype(np.uint64) << np.uint64(chance_bits)
        key_T |= np.ldexp(chance_T, min(chance_bits, 53)).astype(np.uint64)
        key_T = key_T << np.uint64(domain_bits) | domain_T.astype(np.uint64)
        key_T.sort()  # by id, then by chance: far quicker than an argsort
        return (key_T & np.uint64((1 << domain_bits) - 1)).astype(np.int64)

    def _with_domain(self, domain_T: np.ndarray) -> tuple[np.ndarray, ...]:
        """Choices by cell and domain, and by id and domain; where each choice and token counts."""
        num_domains = int(domain_T.max()) + 1
        cell_C = self.cell_C * num_domains
        cell_C += domain_T[self.place_C]
        given_T = self.id_T * num_domains + domain_T
        given = np.bincount(given_T, self.k_T).astype(np.int64)
        return np.bincount(cell_C), given, cell_C, given_T

    def _sum(self, cells: np.ndarray) -> float:
        """Of n ln n."""
        often = np.bincount(cells)
        return float(often @ self.n_log_n[: len(often)])


def _counts(chosen_TE: np.ndarray, token_id_T: np.ndarray, group_T: np.ndarray) -> _Counts:
    k_T = chosen_TE.sum(-1)
    if not k_T.any():
        raise ValueError("no routed tokens in this layer; capture a trace with tokens")
    by_id_T = np.argsort(token_id_T, kind="stable")
    id_T = np.unique(token_id_T[by_id_T], return_inverse=True)[1]
    group_T = np.unique(group_T, return_inverse=True)[1][by_id_T]
    k_T = k_T[by_id_T]
    place_C, expert_C = np.divmod(np.flatnonzero(chosen_TE[by_id_T]), chosen_TE.shape[-1])
    cell_C = id_T[place_C] * chosen_TE.shape[-1] + expert_C
    order_C = np.argsort(cell_C, kind="stable")
    starts_C = np.append(True, np.diff(cell_C[order_C]) > 0)
    size = np.diff(np.append(np.flatnonzero(starts_C), len(starts_C)))
    shared_C = np.repeat(size > 1, size)
    num_choices = np.arange(int(k_T.sum()) + 1)
    n_log_n = xlogy(num_choices, num_choices)
    return _Counts(
        id_T=id_T,
        group_T=group_T,
        place_C=place_C[order_C][shared_C],
        cell_C=(np.cumsum(starts_C & shared_C) - 1)[shared_C],
        k_T=k_T,
        by_id_T=by_id_T,
        choices_N=np.bincount(group_T, k_T).astype(np.int64),
        n_log_n=n_log_n,
        fixed=float(n_log_n[np.bincount(id_T, k_T).astype(np.int64)].sum() - n_log_n[size].sum()),
    )


def _interval(
    least_N: np.ndarray,
    most_N: np.ndarray,
    choices_N: np.ndarray,
    domain_id_N: np.ndarray,
    *,
    seed: int,
) -> tuple[float, float]:
    """The low end by least_N and the high one by most_N, which groups add, over their choices: the
    tables stay, groups are drawn again. NaN where one is not known."""
    if too_few(choices_N, domain_id_N):
        return np.nan, np.nan
    weights_RN = bootstrap_weights(domain_id_N, seed=seed)
    drawn_R = weights_RN @ choices_N
    ends = []
    for beyond_N in (least_N, most_N):
        resampled_R = (weights_RN @ beyond_N) / drawn_R
        error = float(resampled_R.std())
        if error < 1e-9:  # groups all alike, but for rounding
            return np.nan, np.nan
        without_N = (beyond_N.sum() - beyond_N) / (choices_N.sum() - choices_N)
        quantile = jackknife_quantile(without_N, domain_id_N, error=error)
        estimate = np.array(beyond_N.sum() / choices_N.sum())
        ends.append(basic_interval(resampled_R, estimate, quantile))
    return float(ends[0][0]), float(ends[1][1])
