"""A trace in which a token runs 8 to 32 of 64 experts: more of them in code than in mathematics."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from data.routing import NO_EXPERT, Document, RoutingBatch
from data.store import TraceStore
from tests.routing_batches import batch_of, description

MEANS = {"math": 12.0, "code": 22.0, "other": 16.0}
LEAST, MOST, EXPERTS, LAYERS = 8, 32, 64, 3
WORDS = ("def", " the", " sum", " of", " x", " =", " 1", ".")


def write_varying_trace(path: Path, *, documents: int = 36, tokens: int = 60) -> None:
    """Documents are of the three domains by turns."""
    rng = np.random.default_rng(0)
    described = description(layers=LAYERS, experts=EXPERTS, top_k=None)
    with TraceStore.create(path, replace(described, name=path.stem)) as store:
        for doc_id in range(documents):
            domain = list(MEANS)[doc_id % len(MEANS)]
            store.write(document(rng, doc_id, domain, tokens))


def document(rng: np.random.Generator, doc_id: int, domain: str, tokens: int) -> RoutingBatch:
    mean = MEANS[domain] + rng.normal(0, 1)
    k_TL = rng.normal(mean + np.arange(LAYERS), 4, (tokens, LAYERS)).round().clip(LEAST, MOST)
    ids_TLK = rng.random((tokens, LAYERS, EXPERTS)).argsort(-1)[..., :MOST]
    weights_TLK = np.sort(rng.dirichlet(np.full(MOST, 0.5), (tokens, LAYERS)))[..., ::-1]
    left_TLK = np.arange(MOST) >= k_TL[..., None]
    ids_TLK[left_TLK] = NO_EXPERT
    batch = batch_of([doc_id] * tokens, ids_TLK)
    words = [WORDS[place] for place in rng.integers(len(WORDS), size=tokens)]
    return replace(
        batch,
        weights_TLK=np.where(left_TLK, 0, weights_TLK).astype(np.float32),
        token_id_T=np.array([WORDS.index(word) for word in words], np.uint32),
        token_text_T=words,
        documents=(Document(doc_id=doc_id, text="".join(words), domain=domain, origin="test"),),
    )
