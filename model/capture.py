"""Runs documents through a model and hands their routing to a sink.

B = sequences, S = positions, V = vocabulary, T = recorded tokens, R = their rows among B * S.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, fields
from time import monotonic
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data.routing import PREFILL, CancelledError, Document, RoutingBatch, TraceSink
from model.decisions import Decisions, Transfer, concatenated
from model.encoded import Encoded, ahead, batches, encoded_documents, windows
from model.finiteness import checked, with_unexplained
from model.kernels.cpu_memory import fresh
from model.layers import HAS_TRITON
from model.readable import ReadableModel
from model.recording import Recording, recorded_routing

if HAS_TRITON:
    from model.kernels.gpu_loss import fused_token_loss

WINDOW_BATCHES = {"cpu": 8, "cuda": 2}  # documents sorted by length before they are batched
ALONE_TOKENS = 256  # for the batch of a model that reads each text alone
HAND_OVER_SECONDS = 2.0  # after which the sink has what is computed, if not before

Progress = Callable[[int, int], None]  # tokens done, documents done


class Handover(Protocol):
    """Decisions on their way to the host."""

    def wait(self) -> Decisions: ...


@dataclass(slots=True)
class Captured:
    """What a capture has done."""

    documents: int = 0
    tokens: int = 0
    truncated_documents: int = 0
    truncated_tokens: int = 0

    def add(self, document: Document, *, tokens: int) -> None:
        self.documents += 1
        self.tokens += tokens
        self.truncated_documents += document.truncated_tokens > 0
        self.truncated_tokens += document.truncated_tokens


@torch.inference_mode()
def capture_documents(
    model: ReadableModel,
    documents: Iterable[Document],
    sink: TraceSink,
    *,
    batch_tokens: int | None = None,
    stored: Collection[int] = (),
    allow_nonfinite: bool = False,
    on_progress: Progress = lambda tokens, documents: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Captured:
    """Record routing and loss of every token of the documents that are not `stored`.

    The sink receives documents in the order of their ids, but for neighbours: on a GPU, or where
    the model is slow or is interrupted, whichever are computed. Tokens beyond the context are cut
    and counted. What is not a finite number is refused, or with `allow_nonfinite` recorded with a
    finding.
    """
    device = model.device.type
    if batch_tokens is None:
        batch_tokens = model.batch_tokens
    window_tokens = WINDOW_BATCHES[device] * (batch_tokens or ALONE_TOKENS)
    captured = Captured()
    fresh = (document for document in documents if document.doc_id not in stored)
    encoded = windows(encoded_documents(model, fresh), tokens=window_tokens)
    with (
        ahead(encoded, model=model) as encoded_windows,
        recorded_routing(model) as recording,
        Computed(model, sink, allow_nonfinite=allow_nonfinite) as computed,
    ):
        for window in encoded_windows:
            for batch in batches(window, tokens=batch_tokens):
                if cancelled():
                    raise CancelledError
                chosen = [window[index] for index in sorted(batch)]
                computed.add(chosen, forward(model, recording, chosen))
                for item in chosen:
                    captured.add(item.document, tokens=len(item.token_ids))
                on_progress(captured.tokens, captured.documents)
            computed.hand_over()
    return captured


class Computed:
    """Documents between the model and the sink. What ends the block finds them written.

    Python heeds signals where something is called: what belongs together is done without a call.
    """

    def __init__(self, model: ReadableModel, sink: TraceSink, *, allow_nonfinite: bool) -> None:
        self._sink = sink
        self._on_gpu = model.device.type == "cuda"
        self._scored_from = model.scored_from
        self._allow_nonfinite = allow_nonfinite
        self._parts: list[tuple[list[Encoded], Handover]] = []
        self._on_their_way: list[list[tuple[list[Encoded], Handover]]] = []
        self._batch: RoutingBatch | None = None  # the first of these, until it is written
        self._handed_over = monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        failed = kind is not None and issubclass(kind, Exception)
        with suppress(Exception) if failed else nullcontext():  # the first error is told
            self.hand_over(all_of_it=True)

    def add(self, items: list[Encoded], transfer: Handover) -> None:
        self._parts = [*self._parts, (items, transfer)]
        if self._on_gpu or monotonic() - self._handed_over >= HAND_OVER_SECONDS:
            self.hand_over()

    def hand_over(self, *, all_of_it: bool = False) -> None:
        """A GPU computes on while the sink has what was handed over before: little at a time, or it
        would be done first."""
        if self._parts:
            self._on_their_way = [*self._on_their_way, self._parts]
            self._parts = []
        while len(self._on_their_way) > (self._on_gpu and not all_of_it):
            if self._batch is None:
                self._batch = in_document_order(
                    self._on_their_way[0],
                    scored_from=self._scored_from,
                    allow_nonfinite=self._allow_nonfinite,
                )
            self._sink.write(self._batch)
            self._on_their_way, self._batch = self._on_their_way[1:], None
        self._handed_over = monotonic()


class Parts(NamedTuple):
    """Consecutive tokens of one text."""

    transfers: list[Transfer]

    def wait(self) -> Decisions:
        return concatenated([transfer.wait() for transfer in self.transfers])


def forward(model: ReadableModel, recording: Recording, batch: list[Encoded]) -> Handover:
    """One forward of right-padded sequences, or of the parts of one that is long; causal attention
    keeps the padding harmless."""
    token_ids_BS, rows_R = pad_sequences(model, batch)
    if model.scored_from is None:
        model.route(token_ids_BS)
        return recording.transfer(rows_R)
    following_BS = token_ids_BS.roll(-1, dims=1)
    if len(token_ids_BS) > 1 or not 0 < model.batch_tokens < token_ids_BS.shape[1]:
        loss_T = token_loss(model.logits(token_ids_BS), following_BS.flatten())
        return recording.transfer(rows_R, own_loss(loss_T, rows_R, token_ids_BS.shape[1]))
    read_on, before_1 = model.reading(), torch.full((1,), torch.nan, device=rows_R.device)
    transfers = []
    start = len(model.unrecorded)
    for ids_BS, next_BS in zip(
        token_ids_BS.split(model.batch_tokens, 1),
        following_BS.split(model.batch_tokens, 1),
        strict=True,
    ):
        loss_T = torch.cat([before_1, token_loss(read_on(ids_BS), next_BS.flatten())])
        rows_T = torch.arange(start, ids_BS.shape[1], device=rows_R.device)
        transfers.append(recording.transfer(rows_T, loss_T[rows_T]))
        before_1, start = loss_T[-1:], 0
    return Parts(transfers)


def own_loss(loss_T: Tensor, rows_R: Tensor, width: int) -> Tensor:
    """Of the token in each row, from what each row says of the next; NaN where there is none
    before."""
    return loss_T[rows_R - 1].where(rows_R % width > 0, torch.nan)


def pad_sequences(model: ReadableModel, batch: list[Encoded]) -> tuple[Tensor, Tensor]:
    """(token_ids_BS after what is unrecorded, rows_R of the documents' own tokens)"""
    before = model.unrecorded
    lengths = np.array([len(item.token_ids) for item in batch])
    ids_BS = np.full((len(batch), lengths.max() + len(before)), model.start_token_id, np.int64)
    for ids_S, item in zip(ids_BS, batch, strict=True):
        ids_S[: len(before) + len(item.token_ids)] = [*before, *item.token_ids]
    position_S = np.arange(ids_BS.shape[1]) - len(before)
    recorded_BS = (position_S >= 0) & (position_S < lengths[:, None])
    rows_R = np.flatnonzero(recorded_BS)
    return to_device(ids_BS, model.device), to_device(rows_R, model.device)


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy to a GPU that waits for nothing: from memory that is not pinned it would wait for all
    that the GPU was given before."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def token_loss(logits_BSV: Tensor, following_T: Tensor) -> Tensor:
    """Nats of the token that follows each, in float32.

    Where no kernel does it, in slices: on a CPU one stays in the cache, on a GPU it bounds what is
    in float32.
    """
    logits_TV = logits_BSV.flatten(0, 1)
    if HAS_TRITON and logits_TV.is_cuda and not torch.is_grad_enabled():
        return fused_token_loss(logits_TV, following_T)
    rows = 4_096 if logits_TV.is_cuda else 64
    place_RV = None
    if logits_TV.is_cpu and not torch.is_grad_enabled():  # new memory takes longer than the sums
        place_RV = fresh((rows, logits_TV.shape[1]), torch.float32)
    losses = []
    for x_RV, y_R in zip(logits_TV.split(rows), following_T.split(rows), strict=True):
        out = None if place_RV is None else place_RV[: len(x_RV)]
        logs_RV = torch.log_softmax(x_RV, dim=-1, dtype=torch.float32, out=out)
        losses.append(F.nll_loss(logs_RV, y_R, reduction="none"))
    return torch.cat(losses)


def following_loss(model: ReadableModel, token_ids_BS: Tensor) -> Tensor:
    """Nats of the token that follows each; a long text is read on in parts."""
    following_BS = token_ids_BS.roll(-1, dims=1)
    if len(token_ids_BS) > 1 or not 0 < model.batch_tokens < token_ids_BS.shape[1]:
        return token_loss(model.logits(token_ids_BS), following_BS.flatten())
    read_on, tokens = model.reading(), model.batch_tokens
    parts = zip(token_ids_BS.split(tokens, 1), following_BS.split(tokens, 1), strict=True)
    return torch.cat([token_loss(read_on(ids_BS), next_BS.flatten()) for ids_BS, next_BS in parts])


def in_document_order(
    parts: list[tuple[list[Encoded], Handover]], *, scored_from: int | None, allow_nonfinite: bool
) -> RoutingBatch:
    computed = [item for items, _ in parts for item in items]
    decided = fields_of_batch(concatenated([transfer.wait() for _, transfer in parts]))
    window = sorted(computed, key=lambda item: item.document.doc_id)
    if window != computed:
        lengths = [len(item.token_ids) for item in computed]
        ids_T = np.repeat([item.document.doc_id for item in computed], lengths)
        rows_T = np.argsort(ids_T, kind="stable")
        decided = {name: values_T[rows_T] for name, values_T in decided.items()}
    finite_TL, explained_TL = decided.pop("finite_TL"), decided.pop("explained_TL")
    sizes = np.array([len(item.token_ids) for item in window])
    doc_ids = np.array([item.document.doc_id for item in window], np.uint32)
    batch = RoutingBatch(
        doc_id_T=np.repeat(doc_ids, sizes),
        position_T=np.concatenate([np.arange(size, dtype=np.uint32) for size in sizes]),
        token_id_T=np.array([x for item in window for x in item.token_ids], np.uint32),
        phase_T=np.full(sizes.sum(), PREFILL, np.uint8),
        token_text_T=[piece for item in window for piece in item.pieces],
        special_T=[name for item in window for name in item.special],
        documents=tuple(item.document for item in window),
        findings=(),
        **decided,
    )
    batch = with_unexplained(batch, explained_TL)
    return checked(batch, finite_TL, scored_from=scored_from, allowed=allow_nonfinite)


def fields_of_batch(decisions: Decisions) -> dict[str, Any]:
    """What of a RoutingBatch the model decided, and `finite_TL`."""
    return {
        field.name: value
        for field in fields(decisions)
        if (value := getattr(decisions, field.name)) is not None
    }
