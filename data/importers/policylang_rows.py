"""Rows of moe-policylang: what one token chose in one layer. Rows of a prompt stand together, those
of its tokens and layers in any order.

R = rows, T = tokens, L = MoE layers, K = experts per token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data.importers.checks.findings import finding
from data.importers.reading.batching import in_batches
from data.routing import INT16, NO_EXPERT, PHASES, Document, RoutingBatch

MOST_CHOICES = 32_000_000  # of a prompt: bounds memory
UNKNOWN_TOKEN = -1


@dataclass(frozen=True, slots=True)
class Entries:
    prompt_R: np.ndarray  # int64
    token_R: np.ndarray  # int64, from 0 in each prompt
    layer_R: np.ndarray  # int64
    ids_RK: np.ndarray  # int64
    weights_RK: np.ndarray  # float32; NaN: unknown
    token_id_R: np.ndarray  # int64
    phase_R: np.ndarray  # uint8
    loss_R: np.ndarray  # float32
    domain_R: Sequence[str | None]

    def __getitem__(self, part: slice) -> "Entries":
        return Entries(*(getattr(self, name)[part] for name in self.__slots__))


def joined(parts: list[Entries]) -> Entries:
    def all_of(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    return Entries(
        prompt_R=all_of("prompt_R"),
        token_R=all_of("token_R"),
        layer_R=all_of("layer_R"),
        ids_RK=all_of("ids_RK"),
        weights_RK=all_of("weights_RK"),
        token_id_R=all_of("token_id_R"),
        phase_R=all_of("phase_R"),
        loss_R=all_of("loss_R"),
        domain_R=[domain for part in parts for domain in part.domain_R],
    )


def phase_of(name: object, where: str) -> int:
    """ValueError: of another name than PHASES has. Not said: that of a text that is read."""
    if name is None:
        return 0
    if name not in PHASES:
        raise ValueError(f"{where}: the phase {name!r:.40}; {' or '.join(PHASES)} is expected")
    return PHASES.index(str(name))


class Prompts:
    """Makes texts of prompts, numbered through all files."""

    def __init__(self, layers: list[int]) -> None:
        self.layer_L = np.array(layers)
        self._doc_id = 0

    def batches(self, name: str, blocks: Iterator[Entries]) -> Iterator[RoutingBatch]:
        return in_batches(self._batch(name, entries) for entries in _of_prompts(name, blocks))

    def _batch(self, name: str, entries: Entries) -> RoutingBatch:
        origin = f"{name}:{entries.prompt_R[0]}"
        position_T, token_R = np.unique(entries.token_R, return_inverse=True)
        ids_TLK, weights_TLK = self._decisions(entries, token_R, len(position_T), origin)
        token_id_T, phase_T, loss_T = (
            _of_tokens(values_R, token_R, len(position_T))
            for values_R in (entries.token_id_R, entries.phase_R, entries.loss_R)
        )
        document = Document(
            doc_id=self._doc_id, text="", origin=origin, domain=entries.domain_R[0] or None
        )
        self._doc_id += 1
        return RoutingBatch.of(
            doc_id_T=np.full(len(position_T), document.doc_id),
            position_T=position_T,
            token_id_T=np.where(token_id_T == UNKNOWN_TOKEN, 2**32 - 1, token_id_T),
            phase_T=phase_T,
            loss_T=loss_T,
            expert_ids_TLK=ids_TLK,
            weights_TLK=weights_TLK,
            documents=(document,),
            findings=(finding("recomputed-selection", len(position_T), origin),),
        )

    def _decisions(
        self, entries: Entries, token_R: np.ndarray, tokens: int, where: str
    ) -> tuple[np.ndarray, np.ndarray]:
        shape = tokens, len(self.layer_L), entries.ids_RK.shape[1]
        if tokens * shape[1] * shape[2] > 2 * MOST_CHOICES:
            raise ValueError(f"{where} has {tokens:,} tokens in {shape[1]:,} layers: too many")
        unknown_R = ~np.isin(entries.layer_R, self.layer_L)
        if unknown_R.any():
            raise ValueError(
                f"{where} has layer {entries.layer_R[unknown_R][0]}, which the first prompt does "
                f"not have ({', '.join(map(str, self.layer_L.tolist())):.200})"
            )
        place_R = np.searchsorted(self.layer_L, entries.layer_R)
        keys, times = np.unique(token_R * shape[1] + place_R, return_counts=True)
        if times.max() > 1:
            token, place = divmod(int(keys[np.argmax(times)]), shape[1])
            raise ValueError(
                f"{where} has token {entries.token_R[np.argmax(token_R == token)]} twice in layer "
                f"{self.layer_L[place]}; once is expected"
            )
        ids_TLK = np.full(shape, NO_EXPERT, np.int16)
        ids_TLK[token_R, place_R] = np.clip(entries.ids_RK, *INT16)
        weights_TLK = np.full(shape, np.nan, np.float32)
        weights_TLK[token_R, place_R] = entries.weights_RK
        return ids_TLK, weights_TLK


def _of_tokens(values_R: np.ndarray, token_R: np.ndarray, tokens: int) -> np.ndarray:
    """Every layer says the same of a token; the last row is taken."""
    values_T = np.empty(tokens, values_R.dtype)
    values_T[token_R] = values_R
    return values_T


def _of_prompts(name: str, blocks: Iterator[Entries]) -> Iterator[Entries]:
    """All rows of one prompt after those of another. ValueError: a prompt comes again."""
    ended: set[int] = set()
    held: list[Entries] = []
    for block in blocks:
        cuts = [0, *(np.flatnonzero(np.diff(block.prompt_R)) + 1).tolist(), len(block.prompt_R)]
        for begin, end in pairwise(cuts):
            part = block[begin:end]
            prompt = int(part.prompt_R[0])
            if held and held[0].prompt_R[0] != prompt:
                ended.add(int(held[0].prompt_R[0]))
                yield joined(held)
                held = []
            if prompt in ended:
                raise ValueError(
                    f"{name}: prompt {prompt} comes again after others; its rows are expected "
                    "together"
                )
            held.append(part)
            if sum(one.ids_RK.size for one in held) > MOST_CHOICES:
                raise ValueError(f"{name}: prompt {prompt} has more than {MOST_CHOICES:,} choices")
    if held:
        yield joined(held)
