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


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One prompt or text, as its author gave it."""

    doc_id: int
    text: str
    domain: str | None = None  # None: not labelled
    origin: str = ""  # where it came from: a file and line, or a corpus source


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
    documents: tuple[Document, ...] = ()  # those that this batch completes

    def __post_init__(self) -> None:
        tokens, layers = self.expert_ids_TLK.shape[:2]
        if self.weights_TLK.shape != self.expert_ids_TLK.shape:
            raise ValueError(
                f"weights {self.weights_TLK.shape} and expert ids {self.expert_ids_TLK.shape} differ"
            )
        for name in ("doc_id_T", "position_T", "token_id_T", "phase_T", "loss_T", "token_text_T"):
            if len(getattr(self, name)) != tokens:
                raise ValueError(f"{name} has {len(getattr(self, name))} rows, routing {tokens}")
        for name in ("entropy_TL", "margin_TL"):
            gate_TL = getattr(self, name)
            if gate_TL is not None and gate_TL.shape != (tokens, layers):
                raise ValueError(f"{name} is {gate_TL.shape}, routing {(tokens, layers)}")


class TraceSink(Protocol):
    """Whatever takes routing: a trace file, or a list in a test."""

    def write(self, batch: RoutingBatch) -> None: ...
