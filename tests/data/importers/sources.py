"""Sources in memory: what an importer gives. T = tokens, L = layers, K = chosen, N = documents."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.counts import CountsBatch
from data.importers.checks.integrity import Checked
from data.importers.source import Meter, Options, Source, undescribed
from data.routing import Document, Finding, RoutingBatch

NUM_EXPERTS = 8


def routed(tokens: int, *, layers: int = 2, top_k: int = 2, seed: int = 0) -> np.ndarray:
    """ids_TLK as a gate chooses them: no expert twice."""
    rng = np.random.default_rng(seed)
    return rng.random((tokens, layers, NUM_EXPERTS)).argsort(-1)[..., :top_k]


def batch(ids_TLK: np.ndarray, *, doc_id: int = 0, **more: Any) -> RoutingBatch:
    """One text of a file."""
    document = Document(doc_id=doc_id, text="", origin=f"dump.bin:{doc_id + 1}")
    return RoutingBatch.of(
        doc_id_T=np.full(len(ids_TLK), doc_id),
        position_T=np.arange(len(ids_TLK)),
        expert_ids_TLK=np.asarray(ids_TLK),
        documents=(document,),
        **more,
    )


def counts(tokens_NLE: np.ndarray) -> CountsBatch:
    documents = tuple(
        Document(doc_id=place, text="", origin=f"dump.bin:{place + 1}")
        for place in range(len(tokens_NLE))
    )
    return CountsBatch(tokens_NLE=np.asarray(tokens_NLE, np.int64), documents=documents)


def source(batches: Sequence[RoutingBatch | CountsBatch], **more: Any) -> Source:
    first = batches[0]
    counted = isinstance(first, CountsBatch)
    shape = first.tokens_NLE.shape if isinstance(first, CountsBatch) else first.expert_ids_TLK.shape
    settings: dict[str, Any] = {
        "format": "test",
        "engine": "test",
        "layers": undescribed(shape[1], num_experts=NUM_EXPERTS, top_k=2 if counted else shape[2]),
        "counts_only": counted,
    }
    return Source(batches=lambda meter: iter(batches), **settings | more)


def read(
    batches: Sequence[RoutingBatch | CountsBatch], options: Options | None = None, **more: Any
) -> tuple[list[Any], dict[str, Finding]]:
    """What comes out of the checks, and the findings by kind."""
    checked = Checked(source(batches, **more), options or Options(), Meter())
    given = list(checked.batches())
    return given, {found.kind: found for found in given[-1].findings}
