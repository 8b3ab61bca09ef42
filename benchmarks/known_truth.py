"""Traces whose truth is known, to measure how often a statistic is wrong."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

DOMAINS = ("math", "code", "multilingual", "commonsense", "long", "other")
DOCUMENTS, TOKENS, EXPERTS, TOP_K = 50, 256, 64, 6  # documents a domain, tokens a document
STRONG, WEAK = 20.0, 400.0  # concentration of a document's own expert preferences


@dataclass(frozen=True, slots=True)
class Truth:
    """share_GE: how a domain's choices really spread over the experts."""

    share_GE: np.ndarray
    concentration: float | None = None  # of documents around it; None: all documents alike
    spread: float = 0.0  # of the logarithm of a document's length

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """tokens_NLE of one layer, domain_id_N"""
        domain_id_N = np.repeat(np.arange(len(DOMAINS)), DOCUMENTS)
        share_NE = self.share_GE[domain_id_N]
        if self.concentration is not None:
            gamma_NE = rng.standard_gamma(self.concentration * share_NE)
            share_NE = gamma_NE / gamma_NE.sum(-1, keepdims=True)
        length_N = TOKENS * np.exp(self.spread * rng.standard_normal(len(domain_id_N)))
        choices_N = np.maximum(1, length_N).astype(int) * TOP_K
        return rng.multinomial(choices_N, share_NE)[:, None], domain_id_N

    def true_log_lift(self) -> np.ndarray:
        """log2 lift of every expert and domain [E, G]"""
        return np.log2(self.share_GE / self.share_GE.mean(0)).T


def uniform() -> np.ndarray:
    return np.full(EXPERTS, 1 / EXPERTS)


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


def same(load_E: np.ndarray) -> np.ndarray:
    return np.tile(load_E, (len(DOMAINS), 1))


def planted(lift: float) -> np.ndarray:
    """Two specialists a domain; an expert's odds there are such that its lift is the one named."""
    share_GE = same(uniform())
    others = len(DOMAINS) - 1
    for g in range(len(DOMAINS)):
        own = [2 * g, 2 * g + 1]
        share_GE[:, own] *= (len(DOMAINS) - lift) / others
        share_GE[g, own] = lift / EXPERTS
    free = slice(2 * len(DOMAINS), None)
    rest_G = 1 - share_GE[:, : 2 * len(DOMAINS)].sum(-1)
    share_GE[:, free] = rest_G[:, None] / (EXPERTS - 2 * len(DOMAINS))
    return share_GE


NULLS = {
    "random router": Truth(same(uniform())),
    "heavy-tailed load": Truth(same(zipf())),
    "dead experts": Truth(same(with_dead())),
    "autocorrelation": Truth(same(uniform()), STRONG),
    "autocorrelation, heavy tail, lengths differ": Truth(same(zipf()), STRONG, 0.7),
}
UNEVEN = {
    "uneven load, autocorrelation": Truth(same(uneven(0.3)), STRONG),
    "nearly even load, autocorrelation": Truth(same(uneven(0.1)), STRONG),
}
PLANTED = {
    f"lift {lift}, {name}": (lift, Truth(planted(lift), concentration))
    for lift in (1.2, 1.5, 2.0, 4.0)
    for name, concentration in (("independent", None), ("mild", WEAK), ("autocorrelation", STRONG))
}
