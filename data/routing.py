"""The hand-over between whatever produces routing and whatever stores it. NumPy only.

T = tokens, L = MoE layers, K = most experts any token chose.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

NO_EXPERT = -1  # fills a choice that was not made, where the number of chosen experts varies

PREFILL, DECODE = 0, 1
PHASES = ("prefill", "decode")

DOMAINS = ("math", "code", "multilingual", "commonsense", "long", "other")  # in the order shown
UNLABELLED = "unlabelled"  # how a document without a domain is shown


class CancelledError(Exception):
    """Somebody asked to stop; what a sink got until then is whole documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One prompt or text, as its author gave it."""

    doc_id: int
    text: str
    domain: str | None = None  # None: not labelled
    group: str | None = None  # texts of one group are one piece of evidence; None: its own
    origin: str = ""  # where it came from: a file and line, or a corpus source
    truncated_tokens: int = 0  # tokens beyond the model's context: in the text, never routed


UNKNOWN = "unknown"  # what a source does not say of a layer
MIXED = "mixed"  # scoring of a trace whose layers differ in it


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDescription:
    """What is known of a MoE layer."""

    name: str  # what the model calls it: layers.3.mlp; its own in the model
    num_experts: int  # routed
    num_shared_experts: int
    top_k: int | None  # None where it varies from token to token
    scoring: str  # softmax, sigmoid, sqrtsoftplus, probability, hash, UNKNOWN
    weighting: str  # of scores to mixing weights: "scores", "scores that sum to 1, times 2.5"
    selection: str  # "scores", "scores plus bias in 4 of 8 groups", "token id"


FATAL = "fatal"  # of a finding: stands on every page


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was noticed while a trace was written."""

    kind: str
    severity: str  # FATAL, warning, note
    occurrences: int
    first_example: str  # where, in words
    effect: str  # on the figures

    def in_words(self) -> str:
        return f"{self.effect} ({self.occurrences:,} tokens; first, {self.first_example})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingBatch:
    """Routing of T tokens, documents contiguous, positions ascending. Padding never enters."""

    doc_id_T: np.ndarray  # uint32
    position_T: np.ndarray  # uint32, from 0
    token_id_T: np.ndarray  # uint32
    phase_T: np.ndarray  # uint8: PREFILL or DECODE
    loss_T: np.ndarray  # float32, nats of this token given those before it; NaN where unknown
    token_text_T: list[str]  # what each token adds to its document's text
    expert_ids_TLK: np.ndarray  # int16, rank 0 first; NO_EXPERT where fewer than K were chosen
    weights_TLK: np.ndarray  # float32, as multiplied with each expert's output
    entropy_TL: np.ndarray | None = None  # float32, nats of the gate's distribution; None: ids only
    margin_TL: np.ndarray | None = None  # float32, last chosen minus best rejected score
    dropped_ids_TLK: np.ndarray | None = None  # int16: chosen, but full
    documents: tuple[Document, ...] = ()  # those that this batch completes
    findings: tuple[Finding, ...] = ()  # in these documents
    special_T: list[str | None] | None = None  # names of special tokens; None: there are none

    def __post_init__(self) -> None:
        tokens, layers = self.expert_ids_TLK.shape[:2]
        if self.weights_TLK.shape != self.expert_ids_TLK.shape:
            raise ValueError(
                f"weights are {self.weights_TLK.shape}, expert ids {self.expert_ids_TLK.shape}"
            )
        dropped_TLK = self.dropped_ids_TLK
        if dropped_TLK is not None and dropped_TLK.shape[:2] != (tokens, layers):
            raise ValueError(f"dropped_ids are {dropped_TLK.shape}, routing {(tokens, layers)}")
        for name in ("doc_id_T", "position_T", "token_id_T", "phase_T", "loss_T", "token_text_T"):
            if len(getattr(self, name)) != tokens:
                raise ValueError(f"{name} has {len(getattr(self, name))} rows, routing {tokens}")
        if self.special_T is not None and len(self.special_T) != tokens:
            raise ValueError(f"special_T has {len(self.special_T)} rows, routing {tokens}")
        for name in ("entropy_TL", "margin_TL"):
            gate_TL = getattr(self, name)
            if gate_TL is not None and gate_TL.shape != (tokens, layers):
                raise ValueError(f"{name} is {gate_TL.shape}, routing {(tokens, layers)}")


def concatenated(batches: list[RoutingBatch]) -> RoutingBatch:
    """One batch of all rows, in the order given."""
    if len(batches) == 1:
        return batches[0]
    return RoutingBatch(
        doc_id_T=np.concatenate([batch.doc_id_T for batch in batches]),
        position_T=np.concatenate([batch.position_T for batch in batches]),
        token_id_T=np.concatenate([batch.token_id_T for batch in batches]),
        phase_T=np.concatenate([batch.phase_T for batch in batches]),
        loss_T=np.concatenate([batch.loss_T for batch in batches]),
        token_text_T=[text for batch in batches for text in batch.token_text_T],
        expert_ids_TLK=np.concatenate([batch.expert_ids_TLK for batch in batches]),
        weights_TLK=np.concatenate([batch.weights_TLK for batch in batches]),
        entropy_TL=_all_or_none([batch.entropy_TL for batch in batches], "gate values"),
        margin_TL=_all_or_none([batch.margin_TL for batch in batches], "gate values"),
        dropped_ids_TLK=_all_or_none([batch.dropped_ids_TLK for batch in batches], "drops"),
        documents=tuple(document for batch in batches for document in batch.documents),
        findings=tuple(finding for batch in batches for finding in batch.findings),
        special_T=_all_special(batches),
    )


def _all_special(batches: list[RoutingBatch]) -> list[str | None] | None:
    if all(batch.special_T is None for batch in batches):
        return None
    return [name for batch in batches for name in batch.special_T or [None] * len(batch.doc_id_T)]


def _all_or_none(arrays: list[np.ndarray | None], what: str) -> np.ndarray | None:
    known = [array for array in arrays if array is not None]
    if len(known) not in (0, len(arrays)):
        raise ValueError(f"{len(known)} of {len(arrays)} batches have {what}; give all or none")
    return np.concatenate(known) if known else None


def take_rows(batch: RoutingBatch, rows: np.ndarray) -> RoutingBatch:
    """The given rows (indices), in that order, and the documents whose rows are among them."""
    kept = set(np.unique(batch.doc_id_T[rows]).tolist())
    documents = tuple(document for document in batch.documents if document.doc_id in kept)
    return RoutingBatch(
        doc_id_T=batch.doc_id_T[rows],
        position_T=batch.position_T[rows],
        token_id_T=batch.token_id_T[rows],
        phase_T=batch.phase_T[rows],
        loss_T=batch.loss_T[rows],
        token_text_T=[batch.token_text_T[row] for row in rows.tolist()],
        expert_ids_TLK=batch.expert_ids_TLK[rows],
        weights_TLK=batch.weights_TLK[rows],
        entropy_TL=None if batch.entropy_TL is None else batch.entropy_TL[rows],
        margin_TL=None if batch.margin_TL is None else batch.margin_TL[rows],
        dropped_ids_TLK=None if batch.dropped_ids_TLK is None else batch.dropped_ids_TLK[rows],
        documents=documents,
        findings=batch.findings if documents else (),
        special_T=batch.special_T and [batch.special_T[row] for row in rows.tolist()],
    )


class TraceSink(Protocol):
    """Whatever takes routing: a trace file, or a list in a test."""

    def write(self, batch: RoutingBatch) -> None: ...
