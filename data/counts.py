"""What a source has counted that names no token: the hand-over, and its tables.

N = documents, L = MoE layers, E = routed experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data.routing import PREFILL, Document, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class CountsBatch:
    """Choices of each expert in N documents of which no token is known: forward passes, or files.

    A batch holds all of its documents, in the order of their ids.
    """

    tokens_NLE: np.ndarray  # int64: tokens that chose the expert; E: the most experts of a layer
    documents: tuple[Document, ...]  # N; their text is empty
    weight_sum_NLE: np.ndarray | None = None  # float64; None: unknown
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if len(self.tokens_NLE) != len(self.documents) or self.tokens_NLE.ndim != 3:
            raise ValueError(
                f"tokens_NLE is {self.tokens_NLE.shape}, of {len(self.documents)} documents"
            )
        weights_NLE = self.weight_sum_NLE
        if weights_NLE is not None and weights_NLE.shape != self.tokens_NLE.shape:
            raise ValueError(f"weights are {weights_NLE.shape}, counts {self.tokens_NLE.shape}")


def counted_load_table(batch: CountsBatch) -> pa.Table:
    """What a source has counted of each (document, layer, expert) that occurs. It does not tell
    reading from generation: all is PREFILL."""
    document, layer_id, expert_id = np.nonzero(batch.tokens_NLE)
    doc_id_N = np.array([document.doc_id for document in batch.documents], np.uint32)
    weights_NLE = batch.weight_sum_NLE
    return pa.table(
        {
            "doc_id": doc_id_N[document],
            "layer_id": layer_id.astype(np.uint16),
            "expert_id": expert_id.astype(np.uint16),
            "phase": np.full(len(document), PREFILL, np.uint8),
            "tokens": batch.tokens_NLE[document, layer_id, expert_id].astype(np.uint32),
            "weight_sum": np.full(len(document), np.nan)
            if weights_NLE is None
            else weights_NLE[document, layer_id, expert_id],
        }
    )


def counted_k_table(batch: CountsBatch, top_k_L: Sequence[int | None]) -> pa.Table:
    """Tokens of each (document, layer) whose choices are a multiple of the layer's top_k."""
    choices_NL = batch.tokens_NLE.sum(-1)
    k_L = np.array([top_k or 0 for top_k in top_k_L])
    tokens_NL, rest_NL = np.divmod(choices_NL, np.maximum(k_L, 1))
    document, layer_id = np.nonzero((k_L > 0) & (rest_NL == 0) & (tokens_NL > 0))
    doc_id_N = np.array([document.doc_id for document in batch.documents], np.uint32)
    return pa.table(
        {
            "doc_id": doc_id_N[document],
            "layer_id": layer_id.astype(np.uint16),
            "k": k_L[layer_id].astype(np.uint16),
            "tokens": tokens_NL[document, layer_id].astype(np.uint32),
        }
    )
