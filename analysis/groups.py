"""The unit of evidence: a group of texts of one source, whose tokens resemble one another.

N = groups, G = domains. Every interval and test takes groups for the sample: docs/metrics.md.
"""

from collections.abc import Sequence

import numpy as np

MIN_EFFECTIVE = 10  # groups of a domain, each counting by its size; below, nothing is said
NOT_ENOUGH = "not enough independent texts to say"


def in_words(num_documents: int, num_groups: int) -> str:
    """How large a sample is."""
    texts = "1 text" if num_documents == 1 else f"{num_documents:,} texts"
    if num_groups == num_documents:
        return texts
    return f"{texts} in {num_groups:,} {'group' if num_groups == 1 else 'groups'}"


def units(domain_N: Sequence[str | None], group_N: Sequence[str | None]) -> np.ndarray:
    """The place of the first document of every document's group; a document without a group is its
    own. A group lies within one domain."""
    first: dict[tuple[str | None, str], int] = {}
    pairs = enumerate(zip(domain_N, group_N, strict=True))
    return np.array(
        [
            place if group is None else first.setdefault((domain, group), place)
            for place, (domain, group) in pairs
        ],
        dtype=int,
    )


def summed(values_N: np.ndarray, unit_N: np.ndarray) -> np.ndarray:
    """Values of documents added up over each group, in the order of units(); integers are at least
    int32, which sums of smaller ones need."""
    order_N = np.argsort(unit_N, kind="stable")
    ordered_N = unit_N[order_N]
    first = np.flatnonzero(np.append(True, ordered_N[1:] != ordered_N[:-1]))
    dtype = values_N.dtype
    if dtype.kind in "iu" and dtype.itemsize < 4:
        dtype = np.dtype(np.int32)
    if not len(values_N):
        return values_N.astype(dtype)
    return np.add.reduceat(values_N[order_N], first, axis=0, dtype=dtype)


def effective_number(size_N: np.ndarray) -> float:
    """(sum of w)^2 / sum of w^2: so many groups of equal size tell as much (Kish 1965); 0 where
    nothing has a size."""
    squares = float((size_N.astype(np.float64) ** 2).sum())
    return float(size_N.sum()) ** 2 / squares if squares > 0 else 0.0


def effective_numbers(
    size_N: np.ndarray, domain_id_N: np.ndarray, *, num_domains: int
) -> np.ndarray:
    """effective_number of the groups of every domain [G]."""
    size_N = size_N.astype(np.float64)
    size_G, square_G = (
        np.bincount(domain_id_N, of_N, minlength=num_domains) for of_N in (size_N, size_N**2)
    )
    return np.divide(size_G**2, square_G, out=np.zeros(len(size_G)), where=square_G > 0)


def too_few(size_N: np.ndarray, domain_id_N: np.ndarray) -> str:
    """Why a figure of all groups is not said to be sure; empty if every domain has enough."""
    present, domain_id_N = np.unique(domain_id_N, return_inverse=True)
    least = min(effective_numbers(size_N, domain_id_N, num_domains=len(present)), default=0.0)
    if least >= MIN_EFFECTIVE:
        return ""
    return (
        f"{NOT_ENOUGH} how sure this is: a domain has {least:.1f} of equal length, and "
        f"{MIN_EFFECTIVE} are needed"
    )
