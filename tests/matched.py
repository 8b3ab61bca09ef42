"""Traces of the same texts, as small as a test needs them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from duckdb import DuckDBPyConnection

from analysis import queries
from analysis.queries import TraceInfo
from data.routing import DECODE, NO_TOKEN, PREFILL, Document, RoutingBatch
from data.store import TraceStore, open_trace
from model.fingerprint import model_sha256
from tests.routing_batches import description


@dataclass(frozen=True, kw_only=True)
class Text:
    """Its tokens choose experts 0 and 1 in each of the layers, unless ids_TLK says otherwise."""

    pieces: Sequence[str | None]
    text: str | None = None  # what the pieces give
    ids_TLK: np.ndarray | None = None
    generated: int = 0  # of the tokens, the last ones
    token_ids: Sequence[int] | None = None  # by the pieces
    starts: int = 0  # of the tokens, the first ones are special
    begins: int = 0  # the position of the first one
    nats: float | None = None  # of every token
    domain: str = "math"
    group: str | None = None


def write_texts(
    path: Path,
    texts: Sequence[Text],
    *,
    layers: int = 1,
    experts: int = 8,
    tokenizer: str = "test",
    dtype: str | None = "float32",
    margin: float = 0.01,
    weights: bool = True,
    model: Path | None = None,  # the folder of the one that is said to have made it
) -> None:
    described = replace(
        description(layers=layers, experts=experts, top_k=None),
        name=path.stem,
        tokenizer=tokenizer,
        config={"capture": {"dtype": dtype}} if dtype else {},
    )
    if model is not None:
        config = {**described.config, "model": json.loads((model / "config.json").read_text())}
        described = replace(described, model_sha256=model_sha256(model), config=config)
    with TraceStore.create(path, described) as store:
        for doc_id, text in enumerate(texts):
            store.write(batch(doc_id, text, layers=layers, margin=margin, weights=weights))


def batch(doc_id: int, text: Text, *, layers: int, margin: float, weights: bool) -> RoutingBatch:
    tokens = len(text.pieces)
    ids_TLK = text.ids_TLK
    if ids_TLK is None:
        ids_TLK = np.tile([0, 1], (tokens, layers, 1))
    weights_TLK = np.where(ids_TLK >= 0, 1 / np.arange(1.0, ids_TLK.shape[-1] + 1), 0)
    known = text.token_ids or [
        NO_TOKEN if piece is None else sum(piece.encode()) for piece in text.pieces
    ]
    whole = "".join(piece or "" for piece in text.pieces) if text.text is None else text.text
    made = RoutingBatch.of(
        doc_id_T=np.full(tokens, doc_id),
        position_T=np.arange(tokens) + text.begins,
        token_id_T=np.array(known, np.int64),
        token_text_T=list(text.pieces),
        phase_T=np.where(np.arange(tokens) < tokens - text.generated, PREFILL, DECODE),
        expert_ids_TLK=ids_TLK,
        weights_TLK=weights_TLK if weights else None,
        documents=(
            Document(
                doc_id=doc_id, text=whole, domain=text.domain, group=text.group, origin="test"
            ),
        ),
    )
    if text.starts:
        names = ["<s>"] * text.starts + [None] * (tokens - text.starts)
        made = replace(made, special_T=names)
    if text.nats is not None:
        made = replace(made, loss_T=np.full(tokens, text.nats, np.float32))
    if not weights:
        return made
    unknown = np.full(ids_TLK.shape[:2], np.nan, np.float32)
    return replace(made, entropy_TL=unknown, margin_TL=np.full_like(unknown, margin))


def opened(path: Path) -> tuple[DuckDBPyConnection, TraceInfo]:
    con = open_trace(path)
    return con, queries.trace_info(con)


def drawn_texts(
    *, texts: int = 24, tokens: int = 60, layers: int = 2, experts: int = 8, seed: int = 0
) -> list[Text]:
    """Texts of two domains, whose tokens choose two experts at random."""
    rng = np.random.default_rng(seed)
    return [
        Text(
            pieces=[f" {word}" for word in np.random.default_rng(number).integers(9, size=tokens)],
            ids_TLK=rng.random((tokens, layers, experts)).argsort(-1)[..., :2],
            domain=("math", "code")[number % 2],
        )
        for number in range(texts)
    ]
