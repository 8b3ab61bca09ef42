"""A trace of layers with 4, 8 and 6 experts: one of an encoder, two of a decoder.

A text is a start token without text and loss, then 23 words. Layer 0 chooses one expert a token,
layer 1 two, layer 2 none for the first six tokens and two for the others. Balanced, every expert of
layers 0, 1 and 2 has 6 choices of every text.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from data.routing import NO_EXPERT, Document, RoutingBatch
from data.store import TraceStore
from tests.routing_batches import batch_of, description, layer

SIZES, TOKENS, SKIPPED = (4, 8, 6), 24, 6
LAYERS = (
    replace(layer("encoder.layers.0.ffn", 4, top_k=1), scoring="sigmoid"),
    layer("decoder.layers.0.ffn", 8, top_k=2),
    layer("decoder.layers.1.ffn", 6, top_k=None),
)
WORDS = ("def", " the", " sum", " of", " x", " =", " 1", ".")
DOMAINS = ("math", "code", "other")


def write_uneven_trace(path: Path, *, documents: int = 36, balanced: bool = False) -> None:
    """Domains by turns. Not balanced: code prefers expert 3 of layer 0 and expert 7 of layer 1."""
    rng = np.random.default_rng(0)
    described = replace(description(), name=path.stem, layers=LAYERS)
    with TraceStore.create(path, described) as store:
        for doc_id in range(documents):
            domain = DOMAINS[doc_id % len(DOMAINS)]
            ids_TLK = even_choices() if balanced else drawn_choices(rng, domain)
            store.write(document(rng, doc_id, domain, ids_TLK))


def even_choices() -> np.ndarray:
    """ids_TLK"""
    token_T = np.arange(TOKENS)
    ids_TLK = np.full((TOKENS, 3, 2), NO_EXPERT)
    ids_TLK[:, 0, 0] = token_T % 4
    for place in (0, 1):
        ids_TLK[:, 1, place] = (2 * token_T + place) % 8
        ids_TLK[SKIPPED:, 2, place] = (2 * token_T[SKIPPED:] + place) % 6
    return ids_TLK


def drawn_choices(rng: np.random.Generator, domain: str) -> np.ndarray:
    ids_TLK = np.full((TOKENS, 3, 2), NO_EXPERT)
    for layer_id, size in enumerate(SIZES):
        share_E = np.ones(size)
        if domain == "code" and layer_id < 2:
            share_E[-1] = size
        share_E = rng.dirichlet(20 * share_E)
        key_TE = np.log(share_E) + rng.gumbel(size=(TOKENS, size))
        k = 1 if layer_id == 0 else 2
        ids_TLK[:, layer_id, :k] = np.argsort(-key_TE, -1)[:, :k]
    ids_TLK[:SKIPPED, 2] = NO_EXPERT
    return ids_TLK


def document(
    rng: np.random.Generator, doc_id: int, domain: str, ids_TLK: np.ndarray
) -> RoutingBatch:
    words = [WORDS[place] for place in rng.integers(len(WORDS), size=TOKENS - 1)]
    batch = batch_of([doc_id] * TOKENS, ids_TLK)
    return replace(
        batch,
        loss_T=np.append(np.nan, rng.exponential(size=TOKENS - 1)).astype(np.float32),
        token_id_T=np.array([99, *(WORDS.index(word) for word in words)], np.uint32),
        token_text_T=["", *words],
        special_T=["<s>", *[None] * (TOKENS - 1)],
        weights_TLK=np.where(ids_TLK == NO_EXPERT, 0, [0.75, 0.25]).astype(np.float32),
        entropy_TL=np.ones((TOKENS, 3), np.float32),
        documents=(Document(doc_id=doc_id, text="".join(words), domain=domain, origin="test"),),
    )
