"""The tokens of a corpus split in two files, and the training windows cut from them. numpy only.

`SPLIT.tokens.bin`: uint16, documents one after another, each beginning with the end-of-text id,
and one more such id after the last. `SPLIT.index.npz`: where documents start, their domain and
their bytes. N = documents, W = windows, B = windows of a batch, P = positions of a window.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from data.outputs import require_unfinished

PADDING = -1
END_OF_TEXT_ID = 0
SAMPLE = 72  # held-out documents whose routing is recorded along a training

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TokenizedDocument:
    token_ids: npt.NDArray[np.uint16]  # without the end-of-text id
    domain: str
    text_bytes: int


@dataclass(frozen=True, slots=True)
class TokenStore:
    tokens: npt.NDArray[np.uint16]
    doc_start: Int64  # [N + 1]: document d is tokens[doc_start[d] : doc_start[d + 1]]
    domain_id: npt.NDArray[np.uint8]  # [N]: index into domains
    bytes_per_doc: Int64  # [N]: UTF-8 bytes of the text
    domains: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path, split: str) -> "TokenStore":
        tokens_path, index_path = _paths(folder, split)
        for path in (tokens_path, index_path):
            if not path.is_file():
                raise ValueError(f"{path} is missing; make it with `routescope corpus tokenize`")
        with np.load(index_path) as index:
            store = cls(
                tokens=np.fromfile(tokens_path, dtype=np.uint16),
                doc_start=index["doc_start"],
                domain_id=index["domain_id"],
                bytes_per_doc=index["bytes_per_doc"],
                domains=tuple(index["domains"].tolist()),
            )
        if len(store.tokens) != store.doc_start[-1] + 1:
            raise ValueError(
                f"{tokens_path} holds {len(store.tokens)} tokens but its index wants"
                f" {store.doc_start[-1] + 1}; tokenize again"
            )
        return store

    def require_ids_below(self, vocab_size: int) -> None:
        if (largest := int(self.tokens.max())) >= vocab_size:
            raise ValueError(
                f"the corpus has the token id {largest}, the model ids below {vocab_size}"
            )

    def windows(self, length: int, *, epoch: int = 0, seed: int = 0) -> Int64:
        """Rows (document, start in it, tokens from there) of one epoch, shuffled, [W, 3].

        A window predicts `length` tokens from as many, so it reads one more. ceil(n / length) of
        them, spread evenly, cover a document of n tokens; the inner ones are shifted a little in
        every epoch, never so far that a token is left out. A shorter document has one, padded.
        """
        rng = np.random.default_rng((seed, epoch))
        size_N = np.diff(self.doc_start)
        windows_N = np.maximum(1, -(-size_N // length))
        doc_W = np.repeat(np.arange(len(size_N)), windows_N)
        first_N = np.cumsum(windows_N) - windows_N
        rank_W = np.arange(len(doc_W)) - first_N[doc_W]
        step_W = np.maximum(0, size_N - length)[doc_W] / np.maximum(1, windows_N - 1)[doc_W]
        is_inner_W = (rank_W > 0) & (rank_W < windows_N[doc_W] - 1)
        jitter_W = rng.uniform(-0.5, 0.5, len(doc_W)) * (length - step_W) * is_inner_W
        start_W = np.floor(rank_W * step_W + jitter_W).astype(np.int64)
        n_W = np.minimum(length, size_N[doc_W] - start_W) + 1
        return np.stack([doc_W, start_W, n_W], axis=1)[rng.permutation(len(doc_W))]

    def opening_windows(self, length: int) -> tuple[Int64, npt.NDArray[np.uint8]]:
        """The first `length` tokens of SAMPLE documents that have as many, and their domains: as
        many documents of each, the first ones."""
        size_N = np.diff(self.doc_start)
        each = SAMPLE // len(self.domains)
        chosen_N = np.concatenate(
            [
                np.flatnonzero((self.domain_id == g) & (size_N >= length))[:each]
                for g in range(len(self.domains))
            ]
        )
        ids_NS = self.tokens[self.doc_start[chosen_N][:, None] + np.arange(length)]
        return ids_NS.astype(np.int64), self.domain_id[chosen_N]

    def batch(self, windows_B3: Int64, length: int) -> Int64:
        """Token ids of some windows, [B, length + 1], -1 where a document has ended."""
        doc_B, start_B, n_B = windows_B3.T
        offset_P = np.arange(length + 1)
        position_BP = (self.doc_start[doc_B] + start_B)[:, None] + offset_P
        ids_BP = self.tokens.take(position_BP, mode="clip").astype(np.int64)
        ids_BP[offset_P >= n_B[:, None]] = PADDING
        return ids_BP


def corpus_identity(folder: Path) -> str:
    """Hex; equal only while the tokens of both splits and the tokenizer are the same."""
    digest = hashlib.sha256()
    for path in (*_paths(folder, "train"), *_paths(folder, "heldout"), folder / "tokenizer.json"):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def batches(
    store: TokenStore, length: int, batch_size: int, *, seed: int
) -> Callable[[int], Int64]:
    """The batch of each step, a function of the step alone: a resumed training sees the same."""

    @lru_cache(maxsize=1)
    def windows(epoch: int) -> Int64:
        return store.windows(length, epoch=epoch, seed=seed)

    steps_per_epoch = len(windows(0)) // batch_size
    if steps_per_epoch == 0:
        raise ValueError(
            f"the corpus gives {len(windows(0))} sequences of {length} tokens, "
            f"fewer than one batch of {batch_size}; lower --batch-size"
        )

    def batch_of(step: int) -> Int64:
        epoch, index = divmod(step, steps_per_epoch)
        return store.batch(windows(epoch)[index * batch_size : (index + 1) * batch_size], length)

    return batch_of


class DomainWindows:
    """Windows by domain: each domain's in a shuffled order of its own, anew when they run out."""

    def __init__(self, store: TokenStore, *, seed: int) -> None:
        self._store, self._seed = store, seed
        self.domains = store.domains
        size_N = np.diff(store.doc_start)
        tokens_G = np.bincount(store.domain_id, weights=size_N, minlength=len(store.domains))
        self.corpus_G = tokens_G / tokens_G.sum()  # share of the tokens
        self._ordered = lru_cache(maxsize=4)(self._order)

    def _order(self, length: int, epoch: int) -> list[Int64]:
        """Windows of every domain."""
        windows_W3 = self._store.windows(length, epoch=epoch, seed=self._seed)
        domain_W = self._store.domain_id[windows_W3[:, 0]]
        return [windows_W3[domain_W == g] for g in range(len(self.domains))]

    def batch(self, domain_B: Int64, drawn_G: Int64, length: int) -> Int64:
        """Token ids [B, length + 1], -1 where a document has ended: the next of each domain, after
        the `drawn_G` that were drawn before."""
        windows_B3 = np.empty((len(domain_B), 3), dtype=np.int64)
        for g in np.unique(domain_B):
            row_R = np.flatnonzero(domain_B == g)
            count = len(self._ordered(length, 0)[g])
            epoch_R, index_R = np.divmod(drawn_G[g] + np.arange(len(row_R)), count)
            for epoch in np.unique(epoch_R):
                here_R = epoch_R == epoch
                windows_B3[row_R[here_R]] = self._ordered(length, int(epoch))[g][index_R[here_R]]
        return self._store.batch(windows_B3, length)


def write_tokens(
    folder: Path, split: str, documents: Iterable[TokenizedDocument], domains: tuple[str, ...]
) -> None:
    """Writes both files of a split; they appear only when complete."""
    tokens_path, index_path = _paths(folder, split)
    partial = tokens_path.with_suffix(".partial")
    require_unfinished(partial)
    end_of_text = np.full(1, END_OF_TEXT_ID, dtype=np.uint16)
    sizes, domain_ids, text_bytes = [], [], []
    with partial.open("wb") as file:
        for document in documents:
            file.write(end_of_text.tobytes() + document.token_ids.astype(np.uint16).tobytes())
            sizes.append(1 + len(document.token_ids))
            domain_ids.append(domains.index(document.domain))
            text_bytes.append(document.text_bytes)
        file.write(end_of_text.tobytes())
    np.savez_compressed(
        index_path,
        doc_start=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        domain_id=np.array(domain_ids, dtype=np.uint8),
        bytes_per_doc=np.array(text_bytes, dtype=np.int64),
        domains=np.array(domains),
    )
    os.replace(partial, tokens_path)


class DomainSize(TypedDict):
    documents: int
    text_bytes: int
    tokens: int  # document starts not counted
    bytes_per_token: float | None  # None where there is no text


def domain_sizes(store: TokenStore) -> dict[str, DomainSize]:
    text_tokens_N = np.diff(store.doc_start) - 1
    sizes = {}
    for domain_id, domain in enumerate(store.domains):
        is_domain_N = store.domain_id == domain_id
        text_bytes = int(store.bytes_per_doc[is_domain_N].sum())
        tokens = int(text_tokens_N[is_domain_N].sum())
        sizes[domain] = DomainSize(
            documents=int(is_domain_N.sum()),
            text_bytes=text_bytes,
            tokens=tokens,
            bytes_per_token=text_bytes / tokens if tokens else None,
        )
    return sizes


def _paths(folder: Path, split: str) -> tuple[Path, Path]:
    return folder / f"{split}.tokens.bin", folder / f"{split}.index.npz"
