"""Traces that cannot show everything, each with what pages say of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from app import workspace
from app.trace import Trace, open_trace
from data.routing import NO_EXPERT, Document, RoutingBatch
from data.store import TraceStore
from tests.routing_batches import batch_of, description

Write = Callable[[Path], None]
Edit = Callable[[RoutingBatch], RoutingBatch]


def written(
    domains: Sequence[str | None], *, tokens: int = 40, experts: int = 8, top_k: int = 2
) -> Write:
    """A trace of random routing, a document a domain given."""
    return edited(domains, lambda batch: batch, tokens=tokens, experts=experts, top_k=top_k)


def edited(
    domains: Sequence[str | None],
    edit: Edit,
    *,
    tokens: int = 40,
    experts: int = 8,
    top_k: int = 2,
    varies: bool = False,
) -> Write:
    def write(path: Path) -> None:
        rng = np.random.default_rng(0)
        told = description(experts=experts, top_k=None if varies else top_k)
        with TraceStore.create(path, told) as store:
            for doc_id, domain in enumerate(domains):
                ids_TLK = rng.random((tokens, 2, experts)).argsort(-1)[..., :top_k]
                batch = batch_of([doc_id] * tokens, ids_TLK)
                document = Document(doc_id=doc_id, text=f"text {doc_id}", domain=domain)
                store.write(edit(replace(batch, documents=(document,))))

    return write


def without_weights(batch: RoutingBatch) -> RoutingBatch:
    unknown = np.full_like(batch.weights_TLK, np.nan)
    return replace(batch, weights_TLK=unknown, entropy_TL=None, margin_TL=None)


def with_fewer(batch: RoutingBatch) -> RoutingBatch:
    """Every other token chooses one expert less."""
    ids_TLK = batch.expert_ids_TLK.copy()
    ids_TLK[::2, :, -1] = NO_EXPERT
    return replace(batch, expert_ids_TLK=ids_TLK)


def without_a_layer(batch: RoutingBatch) -> RoutingBatch:
    ids_TLK = batch.expert_ids_TLK.copy()
    ids_TLK[:, 1] = NO_EXPERT
    return replace(batch, expert_ids_TLK=ids_TLK)


def with_a_dead_expert(batch: RoutingBatch) -> RoutingBatch:
    """Expert 7 takes the place of none: who chose it chooses another that was free."""
    ids_TLK = batch.expert_ids_TLK.copy()
    rows = np.argwhere(ids_TLK == 7)
    for token, layer, rank in rows:
        taken = set(ids_TLK[token, layer].tolist())
        ids_TLK[token, layer, rank] = min(set(range(7)) - taken)
    return replace(batch, expert_ids_TLK=ids_TLK)


TWO = [*["math"] * 12, *["code"] * 12]  # enough independent texts
FEW = [*["math"] * 6, *["code"] * 6]  # not enough
CASES: dict[str, tuple[Write, str]] = {
    "one_domain": (written(["math"] * 6), "All texts belong to one domain"),
    "one_document": (written(["math"]), "math has 1 independent text"),
    "one_token": (written(["math"], tokens=1), "All texts belong to one domain"),
    "no_labels": (written([None] * 12), "Label texts of two or more domains in a column"),
    "few_documents": (written(FEW), "code has 6 independent texts, as good as 6.0 of equal"),
    "two_documents": (written([*TWO, "long", "long"]), "long has 2 independent texts"),
    "one_document_each": (written(["math", "code"]), "math has 1 independent text"),
    "top_1": (written(TWO, top_k=1), ""),
    "all_chosen": (written(TWO, experts=4, top_k=4), "Every token chooses every expert (k = E)"),
    "one_expert": (written(TWO, experts=1, top_k=1), "Every token chooses every expert (k = E)"),
    "dead_expert": (edited(TWO, with_a_dead_expert), "never chosen and so have no lift"),
    "dead_layer": (edited(TWO, without_a_layer, varies=True), "No token was routed in layer 1"),
    "ids_only": (edited(TWO, without_weights), "expert ids but no mixing weights"),
    "varying_k": (edited(TWO, with_fewer, varies=True), "varies from token to token"),
}


def open_case(name: str, folder: Path) -> Trace:
    return open_trace(workspace.trace_file(folder / f"{name}.duckdb"))
