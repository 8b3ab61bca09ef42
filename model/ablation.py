"""What documents cost a model under changes of its routing: sums of loss, document by document.

N = documents, V = variants, R = rows of the documents' own tokens in a batch.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch

from data.routing import CancelledError
from model.capture import following_loss, own_loss, pad_sequences
from model.encoded import Encoded, batches, require_scores
from model.readable import ReadableModel

BASELINE = "baseline"

Intervention = Callable[[], AbstractContextManager[None]]


class DocumentLoss(NamedTuple):
    """nats_VN of the tokens_N of each document; the first variant is the model as it is."""

    variants: list[str]
    nats_VN: np.ndarray
    tokens_N: np.ndarray


@torch.inference_mode()
def document_losses(
    model: ReadableModel,
    documents: Sequence[Encoded],
    interventions: Mapping[str, Intervention],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> DocumentLoss:
    """Every intervention on the same documents; progress is forwards done and in all."""
    if BASELINE in interventions:
        raise ValueError(f"{BASELINE!r} is the model as it is; name the intervention otherwise")
    scored_from = require_scores(model)
    variants = {BASELINE: nullcontext, **interventions}
    grouped = list(batches(documents, tokens=model.batch_tokens))
    nats_VN = np.zeros((len(variants), len(documents)))
    total = len(variants) * len(grouped)
    for number, batch in enumerate(grouped):
        chosen = [documents[index] for index in batch]
        ids_BS, rows_R = pad_sequences(model, chosen)
        has_loss_R = rows_R % ids_BS.shape[1] > 0
        scored_N = [len(item.token_ids) - scored_from for item in chosen]
        place_R = np.repeat(np.arange(len(batch)), scored_N)
        for variant, intervention in enumerate(variants.values()):
            if cancelled():
                raise CancelledError
            with intervention():
                loss_T = following_loss(model, ids_BS)
            loss_R = own_loss(loss_T, rows_R, ids_BS.shape[1])[has_loss_R]
            nats_VN[variant, batch] = np.bincount(
                place_R, loss_R.double().cpu().numpy(), minlength=len(batch)
            )
            on_progress(number * len(variants) + variant + 1, total)
    tokens_N = np.array([len(item.token_ids) - scored_from for item in documents])
    return DocumentLoss(list(variants), nats_VN, tokens_N)
