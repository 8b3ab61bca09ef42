"""Near-duplicates by sampled shingles: a document mostly made of known byte sequences is a copy."""

import hashlib

import numpy as np
import numpy.typing as npt

SHINGLE_BYTES = 32
SAMPLED = 64  # one shingle of this many is remembered, chosen by its hash
MAX_KNOWN_SHARE = 0.6  # of the sampled shingles of a document
MIN_SHINGLES = 2  # of a text that can be nearly equal to another; a shorter one is equal or not
MAX_TEXTS = 10  # with one sequence, where it is not a template's
NEARLY_ALL = 0.8  # of the sequences: where most are a template's, nearly equal texts share so many
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
Shingles = npt.NDArray[np.uint64]


def sampled_shingles(text: str) -> Shingles:
    """Hashes of the sampled 32-byte sequences of a text; the same sequence is always sampled."""
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    if len(data) < SHINGLE_BYTES:
        return np.zeros(0, dtype=np.uint64)
    hashes, factor, width = data.astype(np.uint64) + np.uint64(1), _MULTIPLIER, 1
    with np.errstate(over="ignore"):
        # hash of 2w bytes = hash of the first w * factor + hash of the next w
        while width < SHINGLE_BYTES:
            hashes = hashes[:-width] * factor + hashes[width:]
            factor, width = factor * factor, 2 * width
        hashes ^= hashes >> np.uint64(32)
        hashes *= _MULTIPLIER
    return np.unique(hashes[(hashes >> np.uint64(48)) % np.uint64(SAMPLED) == 0])


class Duplicates:
    """Remembers the documents it has admitted."""

    def __init__(self) -> None:
        self._texts: set[bytes] = set()
        self._shingles: set[int] = set()

    def admit(self, text: str, *, generated: bool = False) -> bool:
        """False for a copy or near-copy of an admitted one; generated text is compared whole."""
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if digest in self._texts:
            return False
        if not generated:
            shingles = sampled_shingles(text).tolist()
            known = sum(shingle in self._shingles for shingle in shingles)
            if known > MAX_KNOWN_SHARE * len(shingles):
                return False
            self._shingles.update(shingles)
        self._texts.add(digest)
        return True


def near_duplicates(shingles_N: list[Shingles]) -> list[tuple[int, int]]:
    """Pairs of texts, by their places, of which the shorter one is mostly in the other.

    Sequences of more than MAX_TEXTS texts may be a template's: they do not count, except between
    texts that have hardly any other and share nearly all.
    """
    text = np.repeat(np.arange(len(shingles_N)), [len(shingles) for shingles in shingles_N])
    hashes = np.concatenate([*shingles_N, np.zeros(0, np.uint64)])
    order = np.argsort(hashes, kind="stable")
    text, hashes = text[order], hashes[order]
    _, run, size_of_run = np.unique(hashes, return_inverse=True, return_counts=True)
    rare = size_of_run[run] <= MAX_TEXTS
    rare_N = np.bincount(text[rare], minlength=len(shingles_N))
    pairs = _mostly_alike(text[rare], run[rare], rare_N)
    shared_N = np.bincount(text, minlength=len(shingles_N)) - rare_N
    few = rare_N <= (1 - NEARLY_ALL) * (rare_N + shared_N)
    of_template = np.flatnonzero((shared_N >= MIN_SHINGLES) & few)
    return pairs + _nearly_equal(of_template.tolist(), shingles_N)


def _mostly_alike(
    text: npt.NDArray[np.int64], run: npt.NDArray[np.int64], size_N: npt.NDArray[np.int64]
) -> list[tuple[int, int]]:
    """Pairs that share more than MAX_KNOWN_SHARE of the shorter one's sequences."""
    one, other = [], []
    for distance in range(1, MAX_TEXTS):
        same = run[distance:] == run[:-distance]
        one.append(text[:-distance][same])
        other.append(text[distance:][same])
    key, shared = np.unique(
        np.concatenate(one) * len(size_N) + np.concatenate(other), return_counts=True
    )
    first, second = key // len(size_N), key % len(size_N)
    shorter = np.minimum(size_N[first], size_N[second])
    alike = (shorter >= MIN_SHINGLES) & (shared > MAX_KNOWN_SHARE * shorter)
    return list(zip(first[alike].tolist(), second[alike].tolist(), strict=True))


def _nearly_equal(places: list[int], shingles_N: list[Shingles]) -> list[tuple[int, int]]:
    """Pairs that share NEARLY_ALL; such texts mostly have the same smallest or largest hash."""
    first: dict[tuple[int, int], int] = {}
    pairs: list[tuple[int, int]] = []
    for place in places:
        shingles = shingles_N[place]
        for end in (0, -1):
            known = first.setdefault((end, int(shingles[end])), place)
            if known != place and _shared(shingles_N[known], shingles) >= NEARLY_ALL:
                pairs.append((known, place))
    return pairs


def _shared(one: Shingles, other: Shingles) -> float:
    """Share of the shorter one's sequences."""
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / min(len(one), len(other))
