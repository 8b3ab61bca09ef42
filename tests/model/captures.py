"""Captures of a few letters, kept in memory."""

import numpy as np
import torch
from torch import Tensor

from data.routing import Document, RoutingBatch, concatenated
from model.capture import capture_documents
from model.transformer import Transformer
from tests.models import small_router
from tests.readable import readable

TEXTS = ["abcd", "a", "bcabcab", "dd", "cabdacbd", "b"]


class Batches:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.written: list[RoutingBatch] = []

    def write(self, batch: RoutingBatch) -> None:
        self.written.append(batch)

    def joined(self) -> RoutingBatch:
        return concatenated(self.written)


def documents(texts: list[str]) -> list[Document]:
    return [Document(doc_id=doc_id, text=text) for doc_id, text in enumerate(texts)]


def captured(
    model: Transformer, texts: list[str], *, batch_tokens: int | None = None
) -> RoutingBatch:
    sink = Batches()
    capture_documents(readable(model), documents(texts), sink, batch_tokens=batch_tokens)
    return sink.joined()


def executed(model: Transformer, token_ids: list[int]) -> list[Tensor]:
    """(expert_ids_TK, weights_TK) that reached the experts of each layer."""
    seen: list[Tensor] = []
    hooks = [
        layer.experts.register_forward_pre_hook(lambda module, given: seen.extend(given[1:]))
        for layer in model.moe_layers()
    ]
    with torch.inference_mode():
        model(torch.tensor([[0, *token_ids]]))
    for hook in hooks:
        hook.remove()
    return [tensor[1:] for tensor in seen]


def routed_by(router: str, **changes: object) -> Transformer:
    built = Transformer(small_router(router, **changes))
    built.initialize(seed=1)
    return built.eval()


def known(values: np.ndarray | None) -> np.ndarray:
    assert values is not None
    return values
