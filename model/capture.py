"""Runs documents through a model and hands their routing to a sink.

B = sequences, S = positions, V = vocabulary, T = recorded tokens, R = their rows among B * S.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data.routing import DECODE, PREFILL, CancelledError, Document, RoutingBatch, TraceSink
from model.encoded import BATCH_TOKENS, Encoded, batches, encoded_documents, windows
from model.finiteness import checked
from model.generate import NothingToSampleError, generate, require_room
from model.readable import Decode, ReadableModel
from model.recording import Decisions, Recording, Transfer, recorded_routing

WINDOW_BATCHES = {"cpu": 8, "cuda": 2}  # documents sorted by length before they are batched
HAND_OVER_SECONDS = 2.0  # after which the sink has what is computed, if not before

Progress = Callable[[int, int], None]  # tokens done, documents done


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

    The sink receives documents in the order of their ids, but for neighbours where the model is
    slow or is interrupted: then whichever are computed. Tokens beyond the context are cut and
    counted. What is not a finite number is refused, or with `allow_nonfinite` recorded with a
    finding.
    """
    device = model.device.type
    if batch_tokens is None:
        batch_tokens = BATCH_TOKENS[device]
    captured = Captured()
    fresh = (document for document in documents if document.doc_id not in stored)
    encoded = encoded_documents(model, fresh)
    with (
        recorded_routing(model) as recording,
        Computed(sink, on_gpu=device == "cuda", allow_nonfinite=allow_nonfinite) as computed,
    ):
        for window in windows(encoded, tokens=WINDOW_BATCHES[device] * batch_tokens):
            for batch in batches(window, tokens=batch_tokens):
                if cancelled():
                    raise CancelledError
                chosen = [window[index] for index in batch]
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

    def __init__(self, sink: TraceSink, *, on_gpu: bool, allow_nonfinite: bool) -> None:
        self._sink = sink
        self._on_gpu = on_gpu
        self._allow_nonfinite = allow_nonfinite
        self._parts: list[tuple[list[Encoded], Transfer]] = []
        self._on_their_way: list[list[tuple[list[Encoded], Transfer]]] = []
        self._batch: RoutingBatch | None = None  # the first of these, until it is written
        self._handed_over = monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        failed = kind is not None and issubclass(kind, Exception)
        with suppress(Exception) if failed else nullcontext():  # the first error is told
            self.hand_over(all_of_it=True)

    def add(self, items: list[Encoded], transfer: Transfer) -> None:
        self._parts = [*self._parts, (items, transfer)]
        if monotonic() - self._handed_over >= HAND_OVER_SECONDS:
            self.hand_over()

    def hand_over(self, *, all_of_it: bool = False) -> None:
        """A GPU computes on while the sink has what was handed over before."""
        if self._parts:
            self._on_their_way = [*self._on_their_way, self._parts]
            self._parts = []
        while len(self._on_their_way) > (self._on_gpu and not all_of_it):
            if self._batch is None:
                self._batch = in_document_order(
                    self._on_their_way[0], allow_nonfinite=self._allow_nonfinite
                )
            self._sink.write(self._batch)
            self._on_their_way, self._batch = self._on_their_way[1:], None
        self._handed_over = monotonic()


def forward(model: ReadableModel, recording: Recording, batch: list[Encoded]) -> Transfer:
    """One forward of right-padded sequences; causal attention keeps the padding harmless."""
    token_ids_BS, rows_R = pad_sequences(model, batch)
    logits_BSV = model.logits(token_ids_BS)
    following_T = token_ids_BS.roll(-1, dims=1).flatten()
    return recording.transfer(rows_R, token_loss(logits_BSV, following_T)[rows_R - 1])


def pad_sequences(model: ReadableModel, batch: list[Encoded]) -> tuple[Tensor, Tensor]:
    """(token_ids_BS with the start token, rows_R of the documents' own tokens)"""
    lengths = np.array([len(item.token_ids) for item in batch])
    ids_BS = np.full((len(batch), lengths.max() + 1), model.start_token_id, np.int64)
    for ids_S, item in zip(ids_BS, batch, strict=True):
        ids_S[1 : len(item.token_ids) + 1] = item.token_ids
    position_S = np.arange(ids_BS.shape[1])
    recorded_BS = (position_S > 0) & (position_S <= lengths[:, None])
    rows_R = torch.from_numpy(np.flatnonzero(recorded_BS))
    return torch.from_numpy(ids_BS).to(model.device), rows_R.to(model.device)


def token_loss(logits_BSV: Tensor, following_T: Tensor) -> Tensor:
    """Nats of the token that follows each.

    In slices: on a CPU one stays in the cache, on a GPU it bounds what is in float32.
    """
    logits_TV = logits_BSV.flatten(0, 1)
    rows = 4_096 if logits_TV.is_cuda else 64
    slices = zip(logits_TV.split(rows), following_T.split(rows), strict=True)
    logs = ((F.log_softmax(x, dim=-1, dtype=torch.float32), y) for x, y in slices)
    return torch.cat([F.nll_loss(log_TV, y, reduction="none") for log_TV, y in logs])


def in_document_order(
    parts: list[tuple[list[Encoded], Transfer]], *, allow_nonfinite: bool
) -> RoutingBatch:
    computed = [item for items, _ in parts for item in items]
    lengths = [len(item.token_ids) for item in computed]
    rows_T = np.argsort(np.repeat([x.document.doc_id for x in computed], lengths), kind="stable")
    joined = join([transfer.wait() for _, transfer in parts])
    decided: dict[str, Any] = {name: values_T[rows_T] for name, values_T in joined.items()}
    finite_TL = decided.pop("finite_TL")
    window = sorted(computed, key=lambda item: item.document.doc_id)
    sizes = np.array([len(item.token_ids) for item in window])
    doc_ids = np.array([item.document.doc_id for item in window], np.uint32)
    batch = RoutingBatch(
        doc_id_T=np.repeat(doc_ids, sizes),
        position_T=np.concatenate([np.arange(size, dtype=np.uint32) for size in sizes]),
        token_id_T=np.array([x for item in window for x in item.token_ids], np.uint32),
        phase_T=np.full(len(rows_T), PREFILL, np.uint8),
        token_text_T=[piece for item in window for piece in item.pieces],
        documents=tuple(item.document for item in window),
        findings=(),
        **decided,
    )
    return checked(batch, finite_TL, allowed=allow_nonfinite)


def join(decisions: list[Decisions]) -> dict[str, np.ndarray]:
    """The fields of a RoutingBatch that the model decided, and `finite_TL`."""
    names = ["expert_ids_TLK", "weights_TLK", "entropy_TL", "margin_TL", "loss_T", "finite_TL"]
    if decisions[0].dropped_ids_TLK is not None:
        names.append("dropped_ids_TLK")
    return {name: np.concatenate([getattr(d, name) for d in decisions]) for name in names}


@torch.inference_mode()
def capture_generation(
    model: ReadableModel,
    documents: Iterable[Document],
    sink: TraceSink,
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stored: Collection[int] = (),
    allow_nonfinite: bool = False,
    on_progress: Progress = lambda tokens, documents: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Captured:
    """Continue every document; record prompt and continuation, which become its text.

    The last token is sampled but never routed: it is in the text and has no row. A prompt is cut
    where it would leave no room for `max_new_tokens`, in the text too.
    """
    room = require_room(model, max_new_tokens=max_new_tokens)
    captured = Captured()
    fresh = (document for document in documents if document.doc_id not in stored)
    with recorded_routing(model) as recording:
        for prompt in encoded_documents(model, fresh, room=room):
            fed = [model.start_token_id, *prompt.token_ids]
            steps = generate(
                model,
                fed,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_p=top_p,
                seed=seed + prompt.document.doc_id,
            )
            continuation: list[int] = []
            decisions: list[Decisions] = []
            batch_of = partial(
                generated_batch, prompt, decode=model.decode, allow_nonfinite=allow_nonfinite
            )
            try:
                for logits_BSV, token_id in steps:
                    if cancelled():
                        raise CancelledError
                    decisions.append(of_step(recording, logits_BSV, [*fed[1:], token_id]))
                    continuation.append(token_id)
                    fed = [token_id]
                    on_progress(
                        captured.tokens + len(prompt.token_ids) + len(decisions), captured.documents
                    )
            except NothingToSampleError as error:
                unsampled = model.start_token_id
                decisions.append(of_step(recording, error.logits_BSV, [*fed[1:], unsampled]))
                batch_of([*continuation, unsampled], decisions)  # names the MoE layer, if one it is
                raise
            batch = batch_of(continuation, decisions)
            sink.write(batch)
            captured.add(batch.documents[0], tokens=len(batch.doc_id_T))
    return captured


def of_step(recording: Recording, logits_BSV: Tensor, following: list[int]) -> Decisions:
    """What the last forward decided; `following`: the token after each row."""
    loss_T = token_loss(logits_BSV, torch.tensor(following, device=logits_BSV.device))
    return recording.transfer(loss_R=loss_T).wait()


def generated_batch(
    prompt: Encoded,
    continuation: list[int],
    decisions: list[Decisions],
    *,
    decode: Decode,
    allow_nonfinite: bool,
) -> RoutingBatch:
    """One document of prompt and continuation, without the last token's row."""
    token_ids = [*prompt.token_ids, *continuation[:-1]]
    pieces = continuation_pieces(continuation, decode)
    joined = join(decisions).items()
    decided: dict[str, Any] = {name: values[1:] for name, values in joined if name != "loss_T"}
    finite_TL = decided.pop("finite_TL")
    # rows are the start token and `token_ids`; losses are of the token that follows each row
    loss_T = np.concatenate([d.loss_T for d in decisions])[:-1]
    text = "".join([*prompt.pieces, *pieces])
    decode_tokens = len(continuation) - 1
    batch = RoutingBatch(
        doc_id_T=np.full(len(token_ids), prompt.document.doc_id, np.uint32),
        position_T=np.arange(len(token_ids), dtype=np.uint32),
        token_id_T=np.array(token_ids, np.uint32),
        phase_T=np.repeat([PREFILL, DECODE], [len(prompt.token_ids), decode_tokens]).astype(
            np.uint8
        ),
        loss_T=loss_T,
        token_text_T=[*prompt.pieces, *pieces[:-1]],
        documents=(replace(prompt.document, text=text),),
        findings=(),
        **decided,
    )
    return checked(batch, finite_TL, allowed=allow_nonfinite)


def continuation_pieces(token_ids: list[int], decode: Decode) -> list[str]:
    """What each token adds; the last token of a split character adds the character."""
    pieces: list[str] = []
    held: list[int] = []
    for token_id in token_ids:
        held.append(token_id)
        text = decode(held)
        split = text.endswith("\N{REPLACEMENT CHARACTER}") and len(held) < 4
        pieces.append("" if split else text)
        held = held if split else []
    return pieces
