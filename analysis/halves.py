"""One half of the groups chooses what is tested, the other half judges it: what is chosen for a
figure looks better in the texts that chose it than in others.

N = groups.
"""

import numpy as np

from analysis.groups import MIN_EFFECTIVE

MIN_HALF = MIN_EFFECTIVE / 2  # groups of a domain in each half, of equal size


def judging_half(size_N: np.ndarray, domain_id_N: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Whether a group judges [N]. Of every two groups of a domain that follow each other in size,
    one does; a coin says which. Domains of one group each count as one domain: of two groups or
    more both halves have some."""
    rng = np.random.default_rng(seed)
    if len(np.unique(domain_id_N)) == len(domain_id_N):
        domain_id_N = np.zeros_like(domain_id_N)
    judges_N = np.zeros(len(size_N), dtype=bool)
    for domain_id in np.unique(domain_id_N):
        of = np.flatnonzero(domain_id_N == domain_id)
        of = of[np.argsort(-size_N[of], kind="stable")]
        first = rng.integers(2, size=(len(of) + 1) // 2)
        place = 2 * np.arange(len(first)) + first
        judges_N[of[place[place < len(of)]]] = True
    return judges_N
