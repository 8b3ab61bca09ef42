"""Traces whose truth is known, to measure how often a statistic is wrong."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.groups import summed

DOMAINS = ("math", "code", "multilingual", "commonsense", "long", "other")
DOCUMENTS, TOKENS, EXPERTS, TOP_K = 50, 256, 64, 6  # documents a domain, tokens a document
STRONG, WEAK = 20.0, 400.0  # concentration of a document's own expert preferences


@dataclass(frozen=True, slots=True)
class Truth:
    """share_GE: how a domain's choices really spread over the experts."""

    share_GE: np.ndarray
    concentration: float | tuple[float, ...] | None = None  # of documents around it; None: alike
    spread: float = 0.0  # of the logarithm of a document's length
    documents: int | tuple[int, ...] = DOCUMENTS  # of each domain
    group: int = 1  # documents that are of one source
    group_concentration: float | None = None  # of sources around the domain; None: all alike
    copied: bool = False  # the documents of a group repeat one another
    giant: float = 1.0  # how many times as long the first document is
    top_k: int = TOP_K

    @property
    def domains(self) -> tuple[str, ...]:
        return DOMAINS[: len(self.share_GE)]

    def sample(
        self, rng: np.random.Generator, *, groups_stated: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """tokens_NLE of one layer, domain_id_N: by group, or by document as if none were known."""
        documents_G = np.broadcast_to(self.documents, len(self.share_GE))
        domain_id_N = np.repeat(np.arange(len(documents_G)), documents_G)
        within_N = np.concatenate([np.arange(number) for number in documents_G])
        first_N = np.arange(len(within_N)) - within_N % self.group  # of the document's group
        share_NE = self.share_GE[domain_id_N]
        if self.group_concentration is not None:
            share_NE = _around(share_NE, self.group_concentration, rng)[first_N]
        if self.concentration is not None:
            of_domain = np.broadcast_to(self.concentration, len(documents_G))[domain_id_N]
            share_NE = _around(share_NE, of_domain[:, None], rng)
        length_N = TOKENS * np.exp(self.spread * rng.standard_normal(len(domain_id_N)))
        length_N[0] *= self.giant
        choices_N = np.maximum(1, length_N).astype(int) * self.top_k
        tokens_NE = rng.multinomial(choices_N, share_NE)
        if self.copied:
            tokens_NE = tokens_NE[first_N]
        if groups_stated:
            return summed(tokens_NE, first_N)[:, None], domain_id_N[np.unique(first_N)]
        return tokens_NE[:, None], domain_id_N

    def expected_choices(self) -> np.ndarray:
        """Expected choices, up to a factor."""
        weight_G = np.broadcast_to(self.documents, len(self.share_GE)).astype(float)
        weight_G[0] += self.giant - 1
        return self.share_GE * weight_G[:, None]

    def true_log_lift(self) -> np.ndarray:
        """log2 lift of every expert and domain [E, G]"""
        choices_GE = self.expected_choices()
        return np.log2(self.share_GE / (choices_GE.sum(0) / choices_GE.sum())).T


def _around(
    share_NE: np.ndarray, concentration: float | np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A share of its own for every row: Dirichlet."""
    gamma_NE = rng.standard_gamma(concentration * share_NE)
    return gamma_NE / gamma_NE.sum(-1, keepdims=True)


def uniform(experts: int = EXPERTS) -> np.ndarray:
    return np.full(experts, 1 / experts)


def zipf() -> np.ndarray:
    load_E = 1 / np.arange(1, EXPERTS + 1)
    return load_E / load_E.sum()


def uneven(spread: float) -> np.ndarray:
    """spread: of the logarithm of an expert's load."""
    load_E = np.exp(spread * stats.norm.ppf((np.arange(EXPERTS) + 0.5) / EXPERTS))
    return load_E / load_E.sum()


def with_dead() -> np.ndarray:
    load_E = np.where(np.arange(EXPERTS) < 8, 0.0, 1.0)
    return load_E / load_E.sum()


def same(load_E: np.ndarray, *, domains: int = len(DOMAINS)) -> np.ndarray:
    return np.tile(load_E, (domains, 1))


def planted(lift: float, *, domains: int = len(DOMAINS), experts: int = EXPERTS) -> np.ndarray:
    """Two specialists a domain; an expert's odds there are such that its lift is the one named."""
    share_GE = same(uniform(experts), domains=domains)
    for g in range(domains):
        own = [2 * g, 2 * g + 1]
        share_GE[:, own] *= (domains - lift) / (domains - 1)
        share_GE[g, own] = lift / experts
    free = slice(2 * domains, None)
    rest_G = 1 - share_GE[:, : 2 * domains].sum(-1)
    share_GE[:, free] = rest_G[:, None] / (experts - 2 * domains)
    return share_GE


def perfect(domains: int) -> np.ndarray:
    """One expert a domain takes all of it and nothing else."""
    return np.eye(domains)


ONE_SPREAD = (STRONG, *(WEAK,) * 5)  # one domain spreads much further than the others
SIZES = (5, 400, 20, 20)
NULLS = {
    "random router": Truth(same(uniform())),
    "heavy-tailed load": Truth(same(zipf())),
    "dead experts": Truth(same(with_dead())),
    "autocorrelation": Truth(same(uniform()), STRONG),
    "autocorrelation, heavy tail, lengths differ": Truth(same(zipf()), STRONG, 0.7),
    "unequal spread, 50 documents": Truth(same(uniform()), ONE_SPREAD),
    "unequal spread, 15 documents": Truth(same(uniform()), ONE_SPREAD, documents=15),
    "unequal spread, heavy tail, 12 documents": Truth(same(zipf()), ONE_SPREAD, documents=12),
    "groups of 10, strong": Truth(
        same(uniform()), 2 * STRONG, documents=150, group=10, group_concentration=2 * STRONG
    ),
    "groups of 10, half as strong": Truth(
        same(uniform()), 2 * STRONG, documents=150, group=10, group_concentration=4 * STRONG
    ),
    "near-duplicate pairs": Truth(same(uniform()), STRONG, group=2, copied=True),
    "one giant document": Truth(same(uniform()), STRONG, giant=50),
    "one giant document, mild": Truth(same(uniform()), WEAK, giant=50),
    "log-normal lengths, 1.5": Truth(same(uniform()), STRONG, 1.5),
    "unequal sizes 5, 400, 20, 20": Truth(same(uniform(), domains=4), STRONG, documents=SIZES),
    "unequal sizes and spread 12, 400, 20, 20": Truth(
        same(uniform(), domains=4), (STRONG, WEAK, WEAK, WEAK), documents=(12, 400, 20, 20)
    ),
    "two domains, unequal spread": Truth(same(uniform(), domains=2), (STRONG, WEAK)),
    "three domains, unequal spread, 15 documents": Truth(
        same(uniform(), domains=3), (STRONG, WEAK, WEAK), documents=15
    ),
    "256 experts": Truth(same(uniform(256)), STRONG),
    "k = 1": Truth(same(uniform()), STRONG, top_k=1),
}
UNEVEN = {
    "uneven load, autocorrelation": Truth(same(uneven(0.3)), STRONG),
    "nearly even load, autocorrelation": Truth(same(uneven(0.1)), STRONG),
    "uneven load, one giant document": Truth(same(uneven(0.3)), STRONG, giant=50),
    "uneven load, log-normal lengths, 1.5": Truth(same(uneven(0.3)), STRONG, 1.5),
    "heavy-tailed load, one giant document": Truth(same(zipf()), WEAK, giant=50),
}
PLANTED = {
    f"lift {lift}, {name}": (lift, Truth(planted(lift), concentration))
    for lift in (1.2, 1.5, 2.0, 4.0)
    for name, concentration in (("independent", None), ("mild", WEAK), ("autocorrelation", STRONG))
} | {
    "lift 2.0, unequal spread": (2.0, Truth(planted(2.0), ONE_SPREAD)),
    "lift 2.0, groups of 10": (
        2.0,
        Truth(planted(2.0), 2 * STRONG, documents=150, group=10, group_concentration=2 * STRONG),
    ),
    "lift 2.0, one giant document": (2.0, Truth(planted(2.0), STRONG, giant=50)),
    "lift 2.0, log-normal lengths, 1.5": (2.0, Truth(planted(2.0), STRONG, 1.5)),
    "lift 2.0, unequal sizes": (2.0, Truth(planted(2.0, domains=4), STRONG, documents=SIZES)),
    "lift 2.0, 256 experts": (2.0, Truth(planted(2.0, experts=256), STRONG)),
    "lift 2.0, k = 1": (2.0, Truth(planted(2.0), STRONG, top_k=1)),
}
PERFECT = {
    f"{domains} domains, {documents} documents": Truth(
        perfect(domains), documents=documents, spread=spread
    )
    for domains, documents, spread in ((3, 12, 0.0), (3, 50, 0.3), (6, 15, 0.0))
}


def recentred(tokens_NLE: np.ndarray, domain_id_N: np.ndarray) -> np.ndarray:
    """share_NLE of real groups, moved so that the choices of every domain spread over the experts
    as those of all do: every lift is 1, and groups differ much as they did."""
    choices_NL1 = tokens_NLE.sum(-1, keepdims=True)
    whole_LE = tokens_NLE.sum(0) / np.maximum(choices_NL1.sum(0), 1)
    share_NLE = tokens_NLE / np.maximum(choices_NL1, 1)
    for _ in range(100):  # a group's shares must add up to 1 as well
        for domain_id in np.unique(domain_id_N):
            of_N = domain_id_N == domain_id
            own_LE = (share_NLE[of_N] * choices_NL1[of_N]).sum(0) / choices_NL1[of_N].sum(0)
            share_NLE[of_N] *= whole_LE / np.maximum(own_LE, 1e-12)
        share_NLE /= np.maximum(share_NLE.sum(-1, keepdims=True), 1e-300)
    return share_NLE


def drawn_again(
    share_NLE: np.ndarray,
    choices_N: np.ndarray,
    domain_id_N: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """tokens_NLE: as many groups drawn from recentred ones within their domain, with new choices,
    choices_N in every layer."""
    drawn_N = np.concatenate(
        [
            rng.choice(of_N, len(of_N))
            for of_N in (
                np.flatnonzero(domain_id_N == domain_id) for domain_id in np.unique(domain_id_N)
            )
        ]
    )
    drawn = share_NLE[drawn_N].swapaxes(0, 1)
    return np.stack([rng.multinomial(choices_N[drawn_N], of_NE) for of_NE in drawn], 1)
