"""The hand-over between whatever produces routing and whatever stores it. NumPy only.

T = tokens, L = MoE layers, K = most experts any token chose.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np

NO_EXPERT = -1  # fills a choice that was not made, where the number of chosen experts varies
NO_TOKEN = 2**32 - 1  # id of a token that its source does not name

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


INT16 = (-(2**15), 2**15 - 1)
Batch = TypeVar("Batch", bound="RoutingBatch")

MOST_PLACES = 2**15  # of physical experts in a layer
EXPERT_GROUPS = ("n_group", "num_group", "num_expert_groups", "n_groups")  # in models' settings
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
WARNING, NOTE = "warning", "note"
SEVERITIES = (FATAL, WARNING, NOTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was noticed while a trace was written."""

    kind: str
    severity: str  # of SEVERITIES
    occurrences: int
    first_example: str  # where, in words
    effect: str  # on the figures
    unit: str = "tokens"  # that occur
    done: str = ""  # about it

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(
                f"the severity of a finding is {self.severity!r:.80}; give {', '.join(SEVERITIES)}"
            )
        if not self.kind or not 0 < self.occurrences < 2**53:
            raise ValueError(
                f"a finding of kind {self.kind!r:.80} that occurs {self.occurrences} times; name "
                "it, and count it from 1"
            )

    def counted(self) -> str:
        """One is said of one: 1 pass, 2 passes."""
        one = self.unit[: -2 if self.unit.endswith("sses") else -1]
        return f"{self.occurrences:,} {self.unit if self.occurrences > 1 else one}"

    def in_words(self) -> str:
        done = f"; {self.done}" if self.done else ""
        where = f"{self.counted()}; first, {self.first_example}"
        return f"{self.effect}{done} ({where})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingBatch:
    """Routing of T tokens, documents contiguous, positions ascending. Padding never enters."""

    doc_id_T: np.ndarray  # uint32
    position_T: np.ndarray  # uint32, from 0
    token_id_T: np.ndarray  # uint32; NO_TOKEN where unknown
    phase_T: np.ndarray  # uint8: PREFILL or DECODE
    loss_T: np.ndarray  # float32, nats of this token given those before it; NaN where unknown
    token_text_T: Sequence[str | None]  # what each adds to its document's text; None: unknown
    expert_ids_TLK: np.ndarray  # int16, rank 0 first; NO_EXPERT where fewer than K were chosen
    weights_TLK: np.ndarray  # float32, as multiplied with each expert's output
    entropy_TL: np.ndarray | None = None  # float32, nats of the gate's distribution; None: ids only
    margin_TL: np.ndarray | None = None  # float32, last chosen minus best rejected score
    dropped_ids_TLK: np.ndarray | None = None  # int16: chosen, but full
    documents: tuple[Document, ...] = ()  # those that this batch completes
    findings: tuple[Finding, ...] = ()  # in these documents
    special_T: list[str | None] | None = None  # names of special tokens; None: there are none

    def __post_init__(self) -> None:
        if self.expert_ids_TLK.ndim != 3:
            raise ValueError(
                f"expert ids are {self.expert_ids_TLK.shape}, not [tokens, layers, chosen]"
            )
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

    @classmethod
    def of(
        cls,
        *,
        doc_id_T: np.ndarray,
        expert_ids_TLK: np.ndarray,
        position_T: np.ndarray,
        weights_TLK: np.ndarray | None = None,
        token_id_T: np.ndarray | None = None,
        token_text_T: Sequence[str | None] | None = None,
        phase_T: np.ndarray | None = None,
        loss_T: np.ndarray | None = None,
        documents: tuple[Document, ...] = (),
        findings: tuple[Finding, ...] = (),
    ) -> Self:
        """From arrays of any integer or float type; what is left out is unknown, and the phase
        PREFILL. Ids that int16 cannot hold become its limits: no trace takes them.

        ValueError: numbers that are not whole, or beyond what is stored."""
        _require_whole("doc_id_T", doc_id_T, NO_TOKEN)
        _require_whole("position_T", position_T, NO_TOKEN)
        _require_whole("token_id_T", token_id_T, NO_TOKEN)
        _require_whole("phase_T", phase_T, DECODE)
        expert_ids_TLK = np.asarray(expert_ids_TLK)
        if expert_ids_TLK.dtype.kind not in "iu":
            raise ValueError(f"expert_ids_TLK are {expert_ids_TLK.dtype}; give whole numbers")
        tokens = len(expert_ids_TLK)
        unknown = np.full(expert_ids_TLK.shape, np.nan, np.float32)
        return cls(
            doc_id_T=np.asarray(doc_id_T, np.uint32),
            position_T=np.asarray(position_T, np.uint32),
            token_id_T=_or_full(token_id_T, tokens, NO_TOKEN, np.uint32),
            phase_T=_or_full(phase_T, tokens, PREFILL, np.uint8),
            loss_T=_or_full(loss_T, tokens, np.nan, np.float32),
            token_text_T=[None] * tokens if token_text_T is None else token_text_T,
            expert_ids_TLK=np.clip(expert_ids_TLK, *INT16).astype(np.int16, copy=False),
            weights_TLK=unknown if weights_TLK is None else np.asarray(weights_TLK, np.float32),
            documents=documents,
            findings=findings,
        )

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], *, first_doc_id: int = 0) -> Self:
        """A row a text, as rows of Hugging Face `datasets` are: `expert_ids` [T][L][K], and if they
        are known `weights` of that shape, `token_ids`, `tokens` (their texts), `losses`, `text`,
        `domain`, `group`, `origin`. ValueError: a row does not fit itself or the first one."""
        parts: list[Self] = []
        for doc_id, row in enumerate(rows, start=first_doc_id):
            try:
                parts.append(cls._from_row(row, doc_id))
            except (KeyError, TypeError, OverflowError, ValueError) as error:
                what = f"has no {error}" if isinstance(error, KeyError) else f"is wrong: {error}"
                raise ValueError(f"row {doc_id - first_doc_id} {what}") from error
        if not parts:
            raise ValueError("there are no rows")
        return concatenated(parts)

    @classmethod
    def _from_row(cls, row: Mapping[str, Any], doc_id: int) -> Self:
        ids_TLK = np.array(row["expert_ids"])
        if ids_TLK.ndim != 3 or ids_TLK.dtype.kind not in "iu":
            raise ValueError(
                f"expert_ids are {ids_TLK.dtype} of shape {ids_TLK.shape}, not whole numbers "
                "[tokens, layers, chosen]"
            )
        texts = row.get("tokens")
        named: dict[str, Any] = {name: row.get(name) for name in ("domain", "group")}
        text = row.get("text") or "".join(texts or ())
        origin = str(row.get("origin", f"row {doc_id}"))
        arrays = {name: row.get(name) for name in ("weights", "token_ids", "losses")}
        known = {name: None if one is None else np.array(one) for name, one in arrays.items()}
        return cls.of(
            doc_id_T=np.full(len(ids_TLK), doc_id),
            position_T=np.arange(len(ids_TLK)),
            expert_ids_TLK=ids_TLK,
            weights_TLK=known["weights"],
            token_id_T=known["token_ids"],
            token_text_T=texts,
            loss_T=known["losses"],
            documents=(Document(doc_id=doc_id, text=text, origin=origin, **named),),
        )


def _require_whole(name: str, values: np.ndarray | None, most: int) -> None:
    known = np.asarray(0 if values is None else values)
    if known.dtype.kind not in "iub" or (
        known.size and not 0 <= known.min() <= known.max() <= most
    ):
        what = f"from {known.min()} to {known.max()}" if known.dtype.kind in "iuf" else ""
        raise ValueError(f"{name} is {known.dtype} {what}; give whole numbers from 0 to {most:,}")


def _or_full(
    values_T: np.ndarray | None, tokens: int, fill: float, dtype: type[np.generic]
) -> np.ndarray:
    return np.full(tokens, fill, dtype) if values_T is None else np.asarray(values_T, dtype)


def concatenated(batches: list[Batch]) -> Batch:
    """One batch of all rows, in the order given."""
    if len(batches) == 1:
        return batches[0]
    shapes = {batch.expert_ids_TLK.shape[1:] for batch in batches}
    if len(shapes) > 1:
        raise ValueError(f"batches of {' and '.join(map(str, sorted(shapes)))} layers and choices")
    return type(batches[0])(
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


def _all_special(batches: Sequence[RoutingBatch]) -> list[str | None] | None:
    if all(batch.special_T is None for batch in batches):
        return None
    return [name for batch in batches for name in batch.special_T or [None] * len(batch.doc_id_T)]


def _all_or_none(arrays: list[np.ndarray | None], what: str) -> np.ndarray | None:
    known = [array for array in arrays if array is not None]
    if len(known) not in (0, len(arrays)):
        raise ValueError(f"{len(known)} of {len(arrays)} batches have {what}; give all or none")
    return np.concatenate(known) if known else None


def take_rows(batch: RoutingBatch, rows: np.ndarray | slice) -> RoutingBatch:
    """The given rows (indices, or a slice, which copies no array), in that order, and the
    documents whose rows are among them."""
    kept = set(np.unique(batch.doc_id_T[rows]).tolist())
    places = np.arange(len(batch.doc_id_T))[rows].tolist()
    documents = tuple(document for document in batch.documents if document.doc_id in kept)
    return RoutingBatch(
        doc_id_T=batch.doc_id_T[rows],
        position_T=batch.position_T[rows],
        token_id_T=batch.token_id_T[rows],
        phase_T=batch.phase_T[rows],
        loss_T=batch.loss_T[rows],
        token_text_T=[batch.token_text_T[row] for row in places],
        expert_ids_TLK=batch.expert_ids_TLK[rows],
        weights_TLK=batch.weights_TLK[rows],
        entropy_TL=None if batch.entropy_TL is None else batch.entropy_TL[rows],
        margin_TL=None if batch.margin_TL is None else batch.margin_TL[rows],
        dropped_ids_TLK=None if batch.dropped_ids_TLK is None else batch.dropped_ids_TLK[rows],
        documents=documents,
        findings=batch.findings if documents else (),
        special_T=batch.special_T and [batch.special_T[row] for row in places],
    )


class TraceSink(Protocol):
    """Whatever takes routing: a trace file, or a list in a test."""

    def write(self, batch: RoutingBatch) -> None: ...
