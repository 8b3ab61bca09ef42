"""Sums over the groups of each domain in one layer, and what one group more would change.

N = groups in the order of their domains, E = routed experts, G = domains.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from analysis.ratios import Ratio, ratio, ratio_and_with_one_more


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one layer; a domain without groups has zeros."""

    groups_G: np.ndarray
    size_G: np.ndarray  # choices
    size_square_G: np.ndarray  # of the choices of a group
    size_variance_G: np.ndarray
    size_freedom_G: np.ndarray
    tokens_GE: np.ndarray
    square_GE: np.ndarray  # of the choices of a group
    residual_GE: np.ndarray  # the sum of squares of Ratio.square_P
    variance_GE: np.ndarray  # of tokens_GE / size_G; NaN of a single group
    freedom_GE: np.ndarray

    @classmethod
    def none(cls, num_domains: int, num_experts: int) -> "Sums":
        zeros, ones = (partial(make, num_domains) for make in (np.zeros, np.ones))
        zeros_E, ones_E = (
            partial(make, (num_domains, num_experts)) for make in (np.zeros, np.ones)
        )
        return cls(
            groups_G=zeros(int),
            size_G=zeros(),
            size_square_G=zeros(),
            size_variance_G=zeros(),
            size_freedom_G=ones(),
            tokens_GE=zeros_E(),
            square_GE=zeros_E(),
            residual_GE=zeros_E(),
            variance_GE=zeros_E(),
            freedom_GE=ones_E(),
        )

    def put(self, domain_id: int, of: Ratio, amounts: tuple[np.ndarray, np.ndarray]) -> None:
        """The ratio of a domain's groups, their choices and the squares of these [E]."""
        self.size_G[domain_id], self.size_square_G[domain_id] = of.size, of.size_square
        self.size_variance_G[domain_id] = of.size_variance
        self.size_freedom_G[domain_id] = of.size_freedom
        self.tokens_GE[domain_id], self.square_GE[domain_id] = amounts
        self.residual_GE[domain_id] = of.square_P
        self.variance_GE[domain_id], self.freedom_GE[domain_id] = of.variance_P, of.freedom_P
        self.groups_G[domain_id] = of.number

    def with_domain(self, domain_id: int, other: "Sums") -> "Sums":
        """One domain as in the other."""
        mixed = []
        for field in fields(self):
            own, its = getattr(self, field.name), getattr(other, field.name)
            mixed.append(own.copy())
            mixed[-1][domain_id] = its[domain_id]
        return Sums(*mixed)


@dataclass(frozen=True, slots=True)
class Groups:
    """The choices of one layer by group, those of a domain together."""

    tokens_NE: np.ndarray
    size_N: np.ndarray  # all choices of the group
    start_G1: np.ndarray  # the first group of each domain, then N

    @classmethod
    def of(cls, tokens_NE: np.ndarray, domain_id_N: np.ndarray, *, num_domains: int) -> "Groups":
        order_N = np.argsort(domain_id_N, kind="stable")
        start_G1 = np.searchsorted(domain_id_N[order_N], np.arange(num_domains + 1))
        tokens_NE = tokens_NE[order_N].astype(np.float64)
        return cls(tokens_NE, tokens_NE.sum(-1), start_G1)

    def domains(self) -> Iterator[tuple[int, slice]]:
        """Those that have groups, and where these are."""
        for domain_id in np.flatnonzero(np.diff(self.start_G1)).tolist():
            yield domain_id, slice(*self.start_G1[domain_id : domain_id + 2])

    def sums(self) -> Sums:
        sums = Sums.none(len(self.start_G1) - 1, self.tokens_NE.shape[1])
        for domain_id, of in self.domains():
            own_NE = self.tokens_NE[of]
            squares_E = np.einsum("ne,ne->e", own_NE, own_NE)
            sums.put(domain_id, ratio(own_NE, self.size_N[of]), (own_NE.sum(0), squares_E))
        return sums

    def sums_with_missed(self, share_GE: np.ndarray) -> tuple[Sums, Sums]:
        """sums(), and those of each domain with one group more, of its average length, that gives
        every expert such a share of it."""
        sums, more = (Sums.none(*share_GE.shape) for _ in range(2))
        for domain_id, of in self.domains():
            own_NE, size_N = self.tokens_NE[of], self.size_N[of]
            added_E = np.minimum(share_GE[domain_id], 1) * size_N.mean()
            tokens_E, squares_E = own_NE.sum(0), np.einsum("ne,ne->e", own_NE, own_NE)
            own, with_added = ratio_and_with_one_more(own_NE, size_N, added_E)
            sums.put(domain_id, own, (tokens_E, squares_E))
            more.put(domain_id, with_added, (tokens_E + added_E, squares_E + added_E**2))
        return sums, more

    def peaks(self) -> np.ndarray:
        """The largest share of an expert in one group [E], groups shorter than the average taken
        to be as long."""
        longer_N = np.maximum(self.size_N, self.size_N.mean())
        return (self.tokens_NE / np.maximum(longer_N, 1)[:, None]).max(0)

    def peaks_without_each(self) -> np.ndarray:
        """peaks() of the groups outside each domain [G, E]; 0 where there are none.

        Which are shorter depends on the domain left out, but for few: so the maxima of the others
        are taken once for each domain.
        """
        count_G = np.diff(self.start_G1)
        size_G = np.add.reduceat(np.append(self.size_N, 0), self.start_G1[:-1]) * (count_G > 0)
        others_G = len(self.size_N) - count_G
        if not others_G.any():
            return np.zeros((len(count_G), self.tokens_NE.shape[1]))
        mean_G = (self.size_N.sum() - size_G) / np.maximum(others_G, 1)
        shortest, longest = mean_G[others_G > 0].min(), mean_G[others_G > 0].max()
        short_N, long_N = self.size_N <= shortest, self.size_N >= longest
        between = np.flatnonzero(~short_N & ~long_N)
        most_GE, share_GE = np.zeros((2, len(count_G), self.tokens_NE.shape[1]))
        for domain_id, of in self.domains():
            own_NE, size_N1 = self.tokens_NE[of], self.size_N[of, None]
            most_GE[domain_id] = own_NE[short_N[of]].max(0, initial=0)
            long_NE = own_NE[long_N[of]] / np.maximum(size_N1[long_N[of]], 1)
            share_GE[domain_id] = long_NE.max(0, initial=0)
        least_G1 = np.maximum(mean_G, 1)[:, None]
        peak_GE = np.maximum(_of_others(most_GE) / least_G1, _of_others(share_GE))
        for domain_id in np.flatnonzero(others_G).tolist():
            first, last = self.start_G1[domain_id : domain_id + 2]
            of = between[(between < first) | (between >= last)]
            size_N1 = np.maximum(np.maximum(self.size_N[of], mean_G[domain_id]), 1)[:, None]
            of_E = (self.tokens_NE[of] / size_N1).max(0, initial=0)
            peak_GE[domain_id] = np.maximum(peak_GE[domain_id], of_E)
        return peak_GE


def _of_others(value_GE: np.ndarray) -> np.ndarray:
    """The largest of all rows but each."""
    before_GE, after_GE = np.zeros(value_GE.shape), np.zeros(value_GE.shape)
    before_GE[1:] = np.maximum.accumulate(value_GE, 0)[:-1]
    after_GE[:-1] = np.maximum.accumulate(value_GE[::-1], 0)[::-1][1:]
    return np.maximum(before_GE, after_GE)
