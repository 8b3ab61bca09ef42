"""Near-duplicates by sampled shingles: a document mostly made of known byte sequences is a copy."""

import hashlib

import numpy as np
import numpy.typing as npt

SHINGLE_BYTES = 32
SAMPLED = 64  # one shingle of this many is remembered, chosen by its hash
MAX_KNOWN_SHARE = 0.6  # of the sampled shingles of a document
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def sampled_shingles(text: str) -> npt.NDArray[np.uint64]:
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
