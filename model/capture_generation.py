"""Continues documents, and hands their routing to a sink.

B = 1 sequence, S = positions, V = vocabulary, T = tokens.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from data.routing import DECODE, PREFILL, CancelledError, Document, RoutingBatch, TraceSink
from model.capture import Captured, Progress, fields_of_batch, token_loss
from model.decisions import Decisions, concatenated
from model.encoded import Encoded, encoded_documents
from model.finiteness import checked, with_unexplained
from model.generate import NothingToSampleError, require_room
from model.pieces import continuation_pieces
from model.readable import GenerationSettings, ReadableModel
from model.recording import Recording, recorded_routing


@torch.inference_mode()
def capture_generation(
    model: ReadableModel,
    documents: Iterable[Document],
    sink: TraceSink,
    *,
    settings: GenerationSettings,
    stored: Collection[int] = (),
    allow_nonfinite: bool = False,
    on_progress: Progress = lambda tokens, documents: None,
    on_step: "Callable[[Steps], None]" = lambda steps: None,
    cancelled: Callable[[], bool] = lambda: False,
    enough: Callable[[], bool] = lambda: False,
) -> Captured:
    """Continue every document; record prompt and continuation, which become its text.

    The last token is sampled but never routed: it is in the text and has no row. A prompt is cut
    where it would leave no room for new tokens, in the text too. The n-th document is sampled with
    the seed `settings.seed` + n. Once there is `enough`, a document ends with the token that was
    sampled last, and the others are not begun: at least one token of one document is there.
    """
    room = require_room(model, max_new_tokens=settings.max_new_tokens)
    captured = Captured()
    fresh = (document for document in documents if document.doc_id not in stored)

    def told(steps: Steps) -> None:
        on_progress(captured.tokens + steps.tokens, captured.documents)
        on_step(steps)

    with recorded_routing(model) as recording:
        for prompt in encoded_documents(model, fresh, room=room):
            if captured.documents and enough():
                break
            steps = Steps(
                model, recording, prompt, on_step=told, cancelled=cancelled, enough=enough
            )
            batch_of = partial(generated_batch, model, prompt, allow_nonfinite=allow_nonfinite)
            seed = settings.seed + prompt.document.doc_id
            fed = [*model.unrecorded, *prompt.token_ids]
            try:
                model.generate(fed, settings._replace(seed=seed), steps)
            except EnoughError:
                pass
            except NothingToSampleError as error:
                steps.take(error.logits_BSV, model.start_token_id)
                batch_of(steps.continuation, steps.decisions)  # names the MoE layer, if one it is
                raise
            batch = batch_of(steps.continuation, steps.decisions)
            sink.write(batch)
            captured.add(batch.documents[0], tokens=len(batch.doc_id_T))
    return captured


class EnoughError(Exception):
    """Whoever asked for a generation wants no further token."""


class Steps:
    """Takes down every step of one generation."""

    def __init__(
        self,
        model: ReadableModel,
        recording: Recording,
        prompt: Encoded,
        *,
        on_step: "Callable[[Steps], None]",
        cancelled: Callable[[], bool],
        enough: Callable[[], bool],
    ) -> None:
        self.model, self.recording = model, recording
        self.on_step, self.cancelled, self.enough = on_step, cancelled, enough
        self.fed = [*model.unrecorded, *prompt.token_ids]
        self.prompt = prompt
        self.continuation: list[int] = []
        self.decisions: list[Decisions] = []

    def __call__(self, logits_BSV: Tensor, token_id: int) -> None:
        self.take(logits_BSV, token_id)
        if self.enough():
            raise EnoughError

    def take(self, logits_BSV: Tensor, token_id: int) -> None:
        if self.cancelled():
            raise CancelledError
        following_T = torch.tensor([*self.fed[1:], token_id], device=logits_BSV.device)
        loss_T = token_loss(logits_BSV, following_T)
        self.decisions.append(self.recording.transfer(loss_R=loss_T).wait())
        self.continuation.append(token_id)
        self.fed = [token_id]
        self.on_step(self)

    @property
    def tokens(self) -> int:
        """Of the prompt and sampled."""
        return len(self.prompt.token_ids) + len(self.continuation)


def generated_batch(
    model: ReadableModel,
    prompt: Encoded,
    continuation: list[int],
    decisions: list[Decisions],
    *,
    allow_nonfinite: bool,
) -> RoutingBatch:
    """One document of prompt and continuation, without the last token's row."""
    token_ids = [*prompt.token_ids, *continuation[:-1]]
    pieces = continuation_pieces(continuation, model.decode, before=prompt.token_ids)
    unrecorded = len(model.unrecorded)
    joined = fields_of_batch(concatenated(decisions))
    # losses are of the token that follows each row
    loss_T = np.concatenate([[np.float32(np.nan)], joined.pop("loss_T")])[unrecorded:-1]
    decided = {name: values[unrecorded:] for name, values in joined.items()}
    finite_TL, explained_TL = decided.pop("finite_TL"), decided.pop("explained_TL")
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
        special_T=[*prompt.special, *map(model.special_name, continuation[:-1])],
        documents=(replace(prompt.document, text=text),),
        findings=(),
        **decided,
    )
    batch = with_unexplained(batch, explained_TL)
    return checked(batch, finite_TL, scored_from=model.scored_from, allowed=allow_nonfinite)
