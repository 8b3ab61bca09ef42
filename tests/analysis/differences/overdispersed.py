"""Two samples of groups of texts whose loads differ much from group to group, and not in truth."""

import numpy as np

from analysis.differences.differences import Sample

DOMAINS = ("a", "b", "c")
GROUPS, EXPERTS, LAYERS = 20, 16, 2  # of a domain; of a layer


def two_samples(*, seed: int, overdispersion: float = 1.0) -> tuple[Sample, Sample]:
    """Of other texts. `overdispersion`: how far groups of a domain differ."""
    rng = np.random.default_rng(seed)
    share_GE = rng.dirichlet(np.full(EXPERTS, 2.0), len(DOMAINS))
    return tuple(  # type: ignore[return-value]
        _sample(rng, _shares(rng, share_GE, overdispersion), _sizes(rng)) for _ in range(2)
    )


def pair_of_samples(*, seed: int, overdispersion: float = 1.0) -> tuple[Sample, Sample]:
    """Of the same texts, each routed twice from shares of its own."""
    rng = np.random.default_rng(seed)
    share_GE = rng.dirichlet(np.full(EXPERTS, 2.0), len(DOMAINS))
    own_NLE, size_N = _shares(rng, share_GE, overdispersion), _sizes(rng)
    return tuple(  # type: ignore[return-value]
        _sample(rng, _dirichlet(rng, 30 * own_NLE), size_N) for _ in range(2)
    )


def _domains() -> np.ndarray:
    return np.repeat(np.arange(len(DOMAINS)), GROUPS)


def _sizes(rng: np.random.Generator) -> np.ndarray:
    return np.maximum(20, 200 * np.exp(rng.normal(0, 0.8, len(_domains())))).astype(int)


def _shares(rng: np.random.Generator, share_GE: np.ndarray, overdispersion: float) -> np.ndarray:
    of_N = share_GE[_domains()] * EXPERTS / overdispersion
    return _dirichlet(rng, np.repeat(of_N[:, None], LAYERS, 1))


def _dirichlet(rng: np.random.Generator, alpha: np.ndarray) -> np.ndarray:
    drawn = rng.gamma(alpha + 1e-3)
    return drawn / drawn.sum(-1, keepdims=True)


def _sample(rng: np.random.Generator, share_NLE: np.ndarray, size_N: np.ndarray) -> Sample:
    tokens_NLE = rng.multinomial(np.repeat(size_N[:, None], LAYERS, 1), share_NLE)
    return Sample(tokens_NLE, _domains(), np.full(LAYERS, EXPERTS))
