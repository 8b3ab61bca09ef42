"""How well a model predicts text, in bits per byte: comparable across tokenizers.

B = sequences, S = positions, V = vocabulary, N = documents, G = domains.
"""

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


@torch.inference_mode()
def document_nats(
    model: nn.Module, batches: Iterable[tuple[np.ndarray, np.ndarray]], *, num_documents: int
) -> np.ndarray:
    """Nats of each document, [N], by a module from token ids [B, S] to logits_BSV; batches are
    (token ids [B, S + 1] with -1 padding, document_B).

    Every token but a document's first is predicted once, from at most S tokens before it.
    """
    device = next(model.parameters()).device
    nats_N = torch.zeros(num_documents, dtype=torch.float64, device=device)
    for ids_BS, document_B in batches:
        ids = torch.from_numpy(ids_BS.astype(np.int64)).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            logits_BSV = model(ids[:, :-1].clamp(min=0))
        loss_BS = F.cross_entropy(
            logits_BSV.float().transpose(1, 2), ids[:, 1:], ignore_index=-1, reduction="none"
        )
        documents = torch.from_numpy(document_B.astype(np.int64)).to(device)
        nats_N.index_add_(0, documents, loss_BS.sum(1).double())
    return nats_N.cpu().numpy()


def bits_per_byte(
    nats_N: np.ndarray, bytes_N: np.ndarray, domain_N: np.ndarray, domains: Sequence[str]
) -> dict[str, float]:
    """By domain, and "all" over every byte."""
    result = {
        name: float(nats_N[domain_N == g].sum() / bytes_N[domain_N == g].sum() / math.log(2))
        for g, name in enumerate(domains)
        if (domain_N == g).any()
    }
    result["all"] = float(nats_N.sum() / bytes_N.sum() / math.log(2))
    return result


def evaluation_batches(
    tokens: np.ndarray, doc_start: np.ndarray, *, length: int, batch_size: int
) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Consecutive windows of every document for `document_nats`: inputs do not overlap."""
    rows = [
        (document, start, min(start + length + 1, end))
        for document, (begin, end) in enumerate(itertools.pairwise(doc_start))
        for start in range(int(begin), int(end) - 1, length)
    ]
    for first in range(0, len(rows), batch_size):
        chosen = rows[first : first + batch_size]
        ids_BS = np.full((len(chosen), length + 1), -1, dtype=np.int32)
        for row, (_, start, end) in enumerate(chosen):
            ids_BS[row, : end - start] = tokens[start:end]
        yield ids_BS, np.array([document for document, _, _ in chosen])
