"""How far the sums of two samples of groups may be off, domain by domain.

Two samples of the same texts are paired: their groups come in the same order, and what both share
is no noise of their difference. N = groups, P = ratios of one size: experts, layers. The second
axis of what holds both samples, S, has two places.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.ratios import Ratio, ratio

PER_STRATUM = 2  # groups: of fewer, a spread is not known
REST = -1  # the stratum of all domains with fewer


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts of the groups of one of two samples, which number domains alike, and their sizes."""

    amount_NP: np.ndarray
    size_N: np.ndarray
    domain_id_N: np.ndarray

    @property
    def size(self) -> float:
        return float(self.size_N.sum())

    @property
    def ratio_P(self) -> np.ndarray:  # noqa: N802
        return self.amount_NP.sum(0) / self.size if self.size else self.amount_NP.sum(0) * np.nan

    def of(self, groups_N: np.ndarray) -> "Amounts":
        return Amounts(self.amount_NP[groups_N], self.size_N[groups_N], self.domain_id_N[groups_N])


@dataclass(frozen=True, slots=True)
class Stratum:
    """The groups of one domain, of both samples."""

    domain_id: int  # or REST
    amount_SP: np.ndarray
    size_S: np.ndarray
    variance_SP: np.ndarray  # of the amounts, sizes given; 0 of no groups
    covariance_P: np.ndarray  # of the two amounts; 0 where samples are not paired
    freedom_SP: np.ndarray
    paired_freedom_P: np.ndarray | None
    null_variance_SP: np.ndarray  # of the amounts, if the ratio is that of both together
    null_covariance_P: np.ndarray
    length_variance_S: np.ndarray  # of the sizes
    length_freedom: float

    @property
    def ratio_P(self) -> np.ndarray:  # noqa: N802
        """Of both samples together."""
        return self.amount_SP.sum(0) / max(self.size_S.sum(), 1e-300)

    def null_variance(self, by_SP: np.ndarray, ratio_P: np.ndarray) -> np.ndarray:
        """variances() in one, if both samples have the same ratios; ratio_P: those of all domains.
        What one group says weighs no more than its own square: no chance draw of few groups looks
        sure."""
        own_P = (by_SP**2 * self.null_variance_SP).sum(0)
        own_P = own_P - 2 * by_SP.prod(0) * self.null_covariance_P
        apart_SP = by_SP * (self.ratio_P - ratio_P)
        if self.paired_freedom_P is not None:
            moved_P = (apart_SP[1] - apart_SP[0]) ** 2 * self.length_variance_S.mean()
        else:
            moved_P = (apart_SP**2 * self.length_variance_S[:, None]).sum(0)
        return np.maximum(own_P, 0) + moved_P

    def variances(
        self, by_SP: np.ndarray, ratio_SP: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray | float]]:
        """Of by_SP[1] times the second's amounts less by_SP[0] times the first's, in parts that are
        independent of one another; each with its freedom [P].

        Another sample has other sizes too: a domain whose ratio is not ratio_SP, that of all, then
        moves the whole.
        """
        apart_SP = by_SP * (self._own_ratios() - ratio_SP)
        if self.paired_freedom_P is not None:
            own_P = (by_SP**2 * self.variance_SP).sum(0)
            own_P = own_P - 2 * by_SP.prod(0) * self.covariance_P
            yield np.maximum(own_P, 0), self.paired_freedom_P
            moved_P = (apart_SP[1] - apart_SP[0]) ** 2 * self.length_variance_S.mean()
            yield moved_P, self.length_freedom
            return
        for place in range(2):
            yield by_SP[place] ** 2 * self.variance_SP[place], self.freedom_SP[place]
            yield apart_SP[place] ** 2 * self.length_variance_S[place], self.length_freedom

    def _own_ratios(self) -> np.ndarray:
        return self.amount_SP / np.maximum(self.size_S, 1e-300)[:, None]


def strata(first: Amounts, second: Amounts, *, paired: bool) -> list[Stratum]:
    """One a domain; those of too few groups are one together. A group alone even so is taken to be
    as far from the truth as it is from the ratio of all."""
    ids = [of.domain_id_N for of in (first, second)]
    num_domains = max((int(of.max()) + 1 for of in ids if len(of)), default=0)
    number_SG = np.stack([np.bincount(of, minlength=num_domains) for of in ids])
    few_G = np.any((number_SG > 0) & (number_SG < PER_STRATUM), axis=0)
    ids = [np.where(np.take(few_G, of), REST, of) for of in ids]
    ratios = (first.ratio_P, second.ratio_P)
    return [
        _stratum(
            domain_id,
            (first.of(ids[0] == domain_id), second.of(ids[1] == domain_id)),
            ratios,
            paired=paired,
        )
        for domain_id in np.unique(np.concatenate(ids)).tolist()
    ]


def _stratum(
    domain_id: int,
    both: tuple[Amounts, Amounts],
    ratios: tuple[np.ndarray, np.ndarray],
    *,
    paired: bool,
) -> Stratum:
    residuals = [_residuals(one, of_all_P) for one, of_all_P in zip(both, ratios, strict=True)]
    shares = [one.size_N / max(one.size, 1e-300) for one in both]
    of = [
        _spread(residual_NP, share_N)
        for residual_NP, share_N in zip(residuals, shares, strict=True)
    ]
    sizes_S1 = np.array([[one.size] for one in both])
    variance_SP = np.stack([one.variance_P for one in of]) * sizes_S1**2
    covariance_P, freedom_P = np.zeros(variance_SP.shape[1]), None
    if paired:
        apart = _spread(residuals[1] - residuals[0], (shares[0] + shares[1]) / 2)
        relative_P = sum(one.variance_P for one in of) - apart.variance_P
        covariance_P, freedom_P = relative_P * sizes_S1.prod() / 2, apart.freedom_P
    amount_SP = np.stack([one.amount_NP.sum(0) for one in both])
    together_P = amount_SP.sum(0) / max(sizes_S1.sum(), 1e-300)
    null = [one.amount_NP - one.size_N[:, None] * together_P for one in both]
    return Stratum(
        domain_id=domain_id,
        amount_SP=amount_SP,
        size_S=sizes_S1[:, 0],
        variance_SP=variance_SP,
        covariance_P=covariance_P,
        freedom_SP=np.stack([one.freedom_P for one in of]),
        paired_freedom_P=freedom_P,
        null_variance_SP=np.stack([(one**2).sum(0) for one in null]),
        null_covariance_P=(null[0] * null[1]).sum(0) if paired else np.zeros_like(together_P),
        length_variance_S=np.array([_length_variance(one.size_N) for one in both]),
        length_freedom=max(min(one.effective for one in of) - 1, 1.0),
    )


def _residuals(of: Amounts, ratio_P: np.ndarray) -> np.ndarray:
    """What each group's amounts, relative to the size of all, are beyond the ratio of these; of one
    group, beyond that of all domains."""
    if not of.size:
        return np.zeros_like(of.amount_NP)
    own_P = ratio_P if len(of.size_N) < PER_STRATUM else of.ratio_P
    return (of.amount_NP - of.size_N[:, None] * own_P) / of.size


def _spread(residual_NP: np.ndarray, share_N: np.ndarray) -> Ratio:
    """Of their sum. Zero variance of nothing; a single group's is its own square."""
    if len(share_N) >= PER_STRATUM and share_N.any():
        return ratio(residual_NP, share_N)
    of = ratio(np.zeros((PER_STRATUM, residual_NP.shape[1])), np.ones(PER_STRATUM))
    return replace(of, variance_P=(residual_NP**2).sum(0), freedom_P=np.ones(residual_NP.shape[1]))


def _length_variance(size_N: np.ndarray) -> float:
    """Of the sum of sizes of so many groups."""
    return float(size_N.var(ddof=1) * len(size_N)) if len(size_N) >= PER_STRATUM else 0.0


def combined(
    parts: Sequence[tuple[np.ndarray, np.ndarray | float]],
) -> tuple[np.ndarray, np.ndarray]:
    """The root of the sum of independent variances, and its Satterthwaite freedom."""
    variance_P = np.sum([variance for variance, _ in parts], axis=0)
    square_P = np.sum([variance**2 / freedom for variance, freedom in parts], axis=0)
    return np.sqrt(variance_P), np.maximum(variance_P**2 / np.maximum(square_P, 1e-300), 1)
