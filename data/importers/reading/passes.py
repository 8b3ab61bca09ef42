"""Forward passes whose layers were recorded one by one, as texts.

A pass begins where layers do not ascend any more. A text begins with a pass of several tokens, and
passes of one token continue it. R = rows (what one token chose in one layer), C = calls of a layer,
P = passes, T = tokens, L = MoE layers, K = experts per token.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data.importers.checks.findings import finding
from data.importers.source import DumpFile
from data.routing import DECODE, INT16, NO_EXPERT, PREFILL, Document, Finding, RoutingBatch

MOST_CHOICES = 32_000_000  # of a pass: bounds memory


@dataclass(frozen=True, slots=True)
class Rows:
    """In the order of the file. Rows of one call of a layer stand together."""

    call_R: np.ndarray  # int64
    row_R: np.ndarray  # int64, of the token in its call: from 0
    layer_R: np.ndarray  # int64
    ids_RK: np.ndarray
    weights_RK: np.ndarray | None = None

    def __getitem__(self, part: slice) -> "Rows":
        return Rows(
            self.call_R[part],
            self.row_R[part],
            self.layer_R[part],
            self.ids_RK[part],
            None if self.weights_RK is None else self.weights_RK[part],
        )

    def followed_by(self, other: "Rows") -> "Rows":
        weights_RK = None
        if self.weights_RK is not None and other.weights_RK is not None:
            weights_RK = np.concatenate([self.weights_RK, other.weights_RK])
        return Rows(
            np.concatenate([self.call_R, other.call_R]),
            np.concatenate([self.row_R, other.row_R]),
            np.concatenate([self.layer_R, other.layer_R]),
            np.concatenate([self.ids_RK, other.ids_RK]),
            weights_RK,
        )

    def begins_call(self) -> np.ndarray:
        return np.asarray(np.diff(self.call_R, prepend=self.call_R[:1] - 1) != 0)

    def begins_pass(self) -> np.ndarray:
        not_above_R = np.diff(self.layer_R, prepend=self.layer_R[:1]) <= 0
        return np.asarray(self.begins_call() & not_above_R)


@dataclass(frozen=True, slots=True)
class Passes:
    """Whole ones."""

    tokens_P: np.ndarray
    call_P: np.ndarray  # the first of each
    token_R: np.ndarray  # place of each row's token among all tokens
    short_C: np.ndarray  # numbers of the calls that had the last token alone


class Texts:
    """Batches of one file after another; texts are numbered through."""

    def __init__(self, layers: list[int], *, recorded: str) -> None:
        """`layers`: numbers of the MoE layers, ascending. `recorded`: what messages name a call."""
        self.layer_L = np.array(layers)
        self._recorded = recorded
        self._doc_id = -1  # of the text that is open
        self._position = 0  # of its next token
        self._origin = ""

    def batches(self, file: DumpFile, blocks: Iterator[Rows]) -> Iterator[RoutingBatch]:
        """The last whole pass is kept back: it tells whether the text before it goes on."""
        kept: Rows | None = None
        first = True
        for rows in blocks:
            kept = rows if kept is None else kept.followed_by(rows)
            self._check(file, kept)
            start_P = np.flatnonzero(kept.begins_pass())
            if kept[int(start_P[-1]) :].ids_RK.size > MOST_CHOICES:
                raise ValueError(
                    f"{self._at(file, kept, start_P[-1])} begins a pass of more than "
                    f"{MOST_CHOICES:,} choices, more than can be read at once"
                )
            if len(start_P) > 2:
                cut, end = start_P[-2:].tolist()
                goes_on = not kept.row_R[cut:end].any()
                yield self._batch(file, kept[:cut], first=first, goes_on=goes_on)
                kept, first = kept[cut:], False
        if kept is not None:
            yield self._batch(file, kept, first=first, goes_on=False)

    def _at(self, file: DumpFile, rows: Rows, row: int) -> str:
        where = f"{file.name}: {self._recorded} {rows.call_R[row]}"
        return f"{where}, layer {rows.layer_R[row]},"

    def _check(self, file: DumpFile, rows: Rows) -> None:
        begins_R = rows.begins_call()
        goes_on_R = (np.diff(rows.row_R, prepend=-1) == 1) & (
            np.diff(rows.layer_R, prepend=rows.layer_R[:1]) == 0
        )
        wrong_R = np.where(begins_R, rows.row_R != 0, ~goes_on_R)
        if wrong_R.any():
            row = int(np.argmax(wrong_R))
            raise ValueError(
                f"{self._at(file, rows, row)} has row {rows.row_R[row]} where it does not follow; "
                "rows of one layer are expected, counted from 0"
            )
        unknown_R = ~np.isin(rows.layer_R, self.layer_L)
        if unknown_R.any():
            raise ValueError(
                f"{self._at(file, rows, int(np.argmax(unknown_R)))} is of another layer than the "
                f"first passes have ({', '.join(map(str, self.layer_L.tolist()))[:200]}); one "
                "model is expected"
            )

    def _batch(self, file: DumpFile, rows: Rows, *, first: bool, goes_on: bool) -> RoutingBatch:
        """`first`: nothing of the file came before; `goes_on`: its last text does."""
        passes = self._passes(file, rows)
        tokens_P = passes.tokens_P
        begins_P = tokens_P > 1
        begins_P[0] |= first
        origins = [f"{file.name}:{call}" for call in passes.call_P[begins_P]]
        if not begins_P[0]:
            origins.insert(0, self._origin)
        self._origin = origins[-1]
        doc_P, position_P = self._texts(begins_P, tokens_P)
        documents = tuple(
            Document(doc_id=int(doc_P[0]) + place, text="", origin=origin)
            for place, origin in enumerate(origins)
        )[: len(origins) - goes_on]
        offset_P = np.cumsum(tokens_P) - tokens_P
        ids_TLK, weights_TLK = self._decisions(file, rows, passes)
        return RoutingBatch.of(
            doc_id_T=np.repeat(doc_P, tokens_P),
            position_T=np.repeat(position_P - offset_P, tokens_P) + np.arange(len(ids_TLK)),
            phase_T=np.repeat(np.where(tokens_P > 1, PREFILL, DECODE), tokens_P),
            expert_ids_TLK=ids_TLK,
            weights_TLK=weights_TLK,
            documents=documents,
            findings=tuple(self._findings(file, passes, documents)),
        )

    def _passes(self, file: DumpFile, rows: Rows) -> Passes:
        start_C = np.flatnonzero(rows.begins_call())
        size_C = np.diff(start_C, append=len(rows.row_R))
        begins_C = rows.begins_pass()[start_C]
        pass_C = np.cumsum(begins_C) - 1
        tokens_P = np.maximum.reduceat(size_C, np.flatnonzero(begins_C))
        short_C = size_C != tokens_P[pass_C]
        wrong_C = short_C & ((rows.layer_R[start_C] != self.layer_L[-1]) | (size_C > 1))
        if wrong_C.any():
            call = int(np.argmax(wrong_C))
            raise ValueError(
                f"{self._at(file, rows, start_C[call])} has {size_C[call]} tokens where its pass "
                f"has {tokens_P[pass_C[call]]}; as many are expected, or 1 in the last layer"
            )
        offset_P = np.cumsum(tokens_P) - tokens_P
        token_C = offset_P[pass_C] + np.where(short_C, tokens_P[pass_C] - 1, 0)
        return Passes(
            tokens_P=tokens_P,
            call_P=rows.call_R[start_C[begins_C]],
            token_R=np.repeat(token_C, size_C) + rows.row_R,
            short_C=rows.call_R[start_C[short_C]],
        )

    def _texts(self, begins_P: np.ndarray, tokens_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(text of each pass, position of its first token in it)"""
        doc_P = self._doc_id + np.cumsum(begins_P)
        before_P = np.cumsum(tokens_P) - tokens_P
        open_P = np.where(begins_P, before_P, -self._position)
        position_P = before_P - np.maximum.accumulate(open_P)
        self._doc_id = int(doc_P[-1])
        self._position = int(position_P[-1] + tokens_P[-1])
        return doc_P, position_P

    def _decisions(
        self, file: DumpFile, rows: Rows, passes: Passes
    ) -> tuple[np.ndarray, np.ndarray | None]:
        tokens, layers, top_k = passes.tokens_P.sum(), len(self.layer_L), rows.ids_RK.shape[1]
        if tokens * layers * top_k > 2 * MOST_CHOICES:
            raise ValueError(
                f"{self._at(file, rows, 0)} begins passes of {tokens:,} tokens in some of "
                f"{layers:,} layers; every layer of a pass is expected"
            )
        place_R = np.searchsorted(self.layer_L, rows.layer_R)
        ids_TLK = np.full((tokens, layers, top_k), NO_EXPERT, np.int16)
        ids_TLK[passes.token_R, place_R] = np.clip(rows.ids_RK, *INT16)
        if rows.weights_RK is None:
            return ids_TLK, None
        weights_TLK = np.full(ids_TLK.shape, np.nan, np.float32)
        weights_TLK[passes.token_R, place_R] = rows.weights_RK
        return ids_TLK, weights_TLK

    def _findings(
        self, file: DumpFile, passes: Passes, documents: tuple[Document, ...]
    ) -> Iterator[Finding]:
        if passes.short_C.size:
            where = f"{file.name}: {self._recorded} {passes.short_C[0]}"
            yield finding("last-layer-of-one-token", passes.short_C.size, where)
        if documents:
            yield finding("inferred-texts", len(documents), documents[0].origin)
