"""Batches that tests write. T = tokens, L = MoE layers, K = chosen, E = experts."""

from dataclasses import replace

import numpy as np

from data.new_trace import TraceDescription
from data.routing import PREFILL, Document, LayerDescription, RoutingBatch


def batch_of(
    doc_ids: list[int],
    expert_ids_TLK: object,
    *,
    completes: list[int] | None = None,
    phase: int = PREFILL,
    first_position: int = 0,
) -> RoutingBatch:
    """Weights are 1 / (rank + 1); token ids, losses and margins are the row numbers, entropies
    too as far as a gate of these experts can have them."""
    ids_TLK = np.array(expert_ids_TLK, np.int16)
    tokens, layers, top_k = ids_TLK.shape
    doc_id_T = np.array(doc_ids, np.uint32)
    starts = {doc_id: doc_ids.index(doc_id) for doc_id in doc_ids}
    positions = [first_position + row - starts[doc_id] for row, doc_id in enumerate(doc_ids)]
    row_TL = np.broadcast_to(np.arange(tokens, dtype=np.float32)[:, None], (tokens, layers))
    rank_weights = 1 / np.arange(1, top_k + 1, dtype=np.float32)
    return RoutingBatch(
        doc_id_T=doc_id_T,
        position_T=np.array(positions, np.uint32),
        token_id_T=np.arange(tokens, dtype=np.uint32),
        phase_T=np.full(tokens, phase, np.uint8),
        loss_T=np.arange(tokens, dtype=np.float32),
        token_text_T=[f"t{row}" for row in range(tokens)],
        expert_ids_TLK=ids_TLK,
        weights_TLK=np.broadcast_to(rank_weights, ids_TLK.shape).astype(np.float32),
        entropy_TL=np.minimum(row_TL, np.log1p(ids_TLK.max(initial=0)), dtype=np.float32),
        margin_TL=row_TL.copy(),
        documents=tuple(
            Document(doc_id=doc_id, text=f"text {doc_id}", domain="math", origin="test")
            for doc_id in (sorted(set(doc_ids)) if completes is None else completes)
        ),
    )


def random_document(
    doc_id: int, *, tokens: int, layers: int = 2, experts: int = 8, top_k: int = 2
) -> RoutingBatch:
    """Always the same for the same doc_id; the experts of a token differ."""
    rng = np.random.default_rng(doc_id)
    ids_TLK = rng.random((tokens, layers, experts)).argsort(-1)[..., :top_k]
    return batch_of([doc_id] * tokens, ids_TLK)


def grouped(doc_id: int, group: str | None, domain: str | None = "math") -> RoutingBatch:
    """A document of two tokens with these labels."""
    batch = random_document(doc_id, tokens=2)
    document = replace(batch.documents[0], group=group, domain=domain)
    return replace(batch, documents=(document,))


def layer(name: str, experts: int, *, top_k: int | None = 2) -> LayerDescription:
    return LayerDescription(
        name=name,
        num_experts=experts,
        num_shared_experts=1,
        top_k=top_k,
        scoring="softmax",
        weighting="scores",
        selection="scores",
    )


def description(
    *, layers: int = 2, experts: int = 8, top_k: int | None = 2, model_sha256: str = "0" * 64
) -> TraceDescription:
    """Of layers that are all alike."""
    return TraceDescription(
        name="test",
        source="routescope",
        model_name="tiny",
        model_sha256=model_sha256,
        tokenizer="bytes",
        layers=tuple(layer(f"layers.{number}", experts, top_k=top_k) for number in range(layers)),
        seed=None,
        config={"model": {"hidden_dim": 4}, "capture": {"prompts": {"sha256": "abc"}}},
    )
