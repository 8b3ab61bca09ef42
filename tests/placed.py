"""Traces whose experts come in pairs, for placements. L = layers, K = chosen."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from data.routing import DECODE, PREFILL, Document
from data.store import TraceStore
from tests.routing_batches import batch_of, description

TOKENS = 20
PAIRS = ((0, 4), (1, 5), (2, 6), (3, 7))  # experts of one token


def write_paired_trace(
    path: Path,
    *,
    documents: int = 48,
    decoded: int = 0,
    even: bool = False,
    config: dict[str, object] | None = None,
) -> None:
    """Two layers of 8 experts. A token chooses one of PAIRS in both; the first pair half of the
    time, so its experts are the busiest, unless choices are `even`. Domains a and b by turns;
    `decoded` tokens of a text are generated, and choose the last pair."""
    rng = np.random.default_rng(0)
    described = replace(description(layers=2, experts=8, top_k=2), name=path.stem)
    if config is not None:
        described = replace(described, config=config)
    with TraceStore.create(path, described) as store:
        for doc_id in range(documents):
            pair_T = rng.choice(4, TOKENS, p=[0.25] * 4 if even else [0.5, 0.3, 0.1, 0.1])
            pair_T[TOKENS - decoded :] = 3
            ids_TLK = np.repeat(np.array(PAIRS)[pair_T][:, None], 2, axis=1)
            batch = batch_of([doc_id] * TOKENS, ids_TLK)
            phase_T = np.where(np.arange(TOKENS) < TOKENS - decoded, PREFILL, DECODE)
            text = Document(
                doc_id=doc_id, text=f"text {doc_id}", domain="ab"[doc_id % 2], origin="test"
            )
            store.write(replace(batch, phase_T=phase_T.astype(np.uint8), documents=(text,)))
