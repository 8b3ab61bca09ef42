"""Traces as importers write them: ids without weights, tokens without text or id, counts alone.

Every document has 20 tokens. Its token at position p has the id 7 p, and chooses the experts p,
p + 1, ..., p + k - 1 modulo the number of experts, in every layer.
"""

from pathlib import Path

import numpy as np

from data.counts import CountsBatch
from data.new_trace import TraceDescription
from data.routing import UNKNOWN, Document, LayerDescription, RoutingBatch
from data.store import TraceStore

TOKENS = 20


def described(
    *, layers: int, experts: int, top_k: int | None, counts_only: bool = False
) -> TraceDescription:
    return TraceDescription(
        name="imported",
        source="test",
        model_name="model",
        model_sha256="",
        tokenizer="",
        layers=tuple(
            LayerDescription(
                name=f"layers.{layer}.mlp",
                num_experts=experts,
                num_shared_experts=0,
                top_k=top_k,
                scoring=UNKNOWN,
                weighting=UNKNOWN,
                selection=UNKNOWN,
            )
            for layer in range(layers)
        ),
        seed=None,
        config={},
        counts_only=counts_only,
    )


def documents(domains: tuple[str | None, ...]) -> tuple[Document, ...]:
    return tuple(
        Document(doc_id=doc_id, text="", domain=domain, origin=f"dump:{doc_id + 1}")
        for doc_id, domain in enumerate(domains)
    )


def written(
    path: Path,
    *,
    layers: int = 2,
    experts: int = 8,
    top_k: int = 2,
    domains: tuple[str | None, ...] = (None,) * 12,
    with_ids: bool = True,
) -> None:
    """Choices of tokens without weights and text."""
    place_TK = (np.arange(TOKENS)[:, None] + np.arange(top_k)) % experts
    ids_TLK = np.repeat(place_TK[:, None], layers, axis=1)
    with TraceStore.create(path, described(layers=layers, experts=experts, top_k=top_k)) as store:
        for document in documents(domains):
            store.write(
                RoutingBatch.of(
                    doc_id_T=np.full(TOKENS, document.doc_id),
                    position_T=np.arange(TOKENS),
                    expert_ids_TLK=ids_TLK,
                    token_id_T=7 * np.arange(TOKENS) if with_ids else None,
                    documents=(document,),
                )
            )


def counted(
    path: Path, *, top_k: int | None, domains: tuple[str | None, ...] = ("math",) * 12
) -> None:
    """Each document counts 4, 2, 2 and 0 choices of the 4 experts of both layers."""
    tokens_NLE = np.tile(np.array([4, 2, 2, 0]), (len(domains), 2, 1))
    told = described(layers=2, experts=4, top_k=top_k, counts_only=True)
    with TraceStore.create(path, told) as store:
        store.write(CountsBatch(tokens_NLE=tokens_NLE, documents=documents(domains)))
