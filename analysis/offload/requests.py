"""What a token asks of a cache of experts, in the order in which it was captured: documents,
positions, layers; the experts that it chose in a layer are one request.

A = accesses, R = requests, X = experts of all layers one after another, D = documents, L = MoE
layers, N = groups.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from duckdb import DuckDBPyConnection

from analysis import document_rows, queries
from analysis.arrays import places
from analysis.halves import judging_half
from analysis.queries import TraceInfo
from data.connection import TraceError

BEGINNINGS = 16  # texts, where none is short enough to be read whole
COLUMNS = ("doc_id", "position", "layer_id", "expert_id")
NO_TOKENS = (
    "this trace counts choices and names no token, so there is no order in which experts are asked "
    "for; a trace of single tokens has one"
)


@dataclass(frozen=True, slots=True)
class Requests:
    expert_A: np.ndarray  # int32, by expert_index: layers one after another
    start_R1: np.ndarray  # the first access of each request, then the number of accesses
    layer_R: np.ndarray
    token_R: np.ndarray  # counted from 0
    document_R: np.ndarray  # a place in unit_D
    unit_D: np.ndarray  # the group of a document
    domain_id_D: np.ndarray
    experts_L: np.ndarray  # how many each layer has
    shortened: int  # documents of which only the first tokens were read

    @property
    def num_experts(self) -> int:
        return int(self.experts_L.sum())

    @property
    def num_tokens(self) -> int:
        return int(self.token_R[-1]) + 1 if len(self.token_R) else 0

    def largest(self) -> np.ndarray:
        """The most experts that a request of each layer asks for [L]."""
        most_L = np.zeros(len(self.experts_L), np.int64)
        np.maximum.at(most_L, self.layer_R, np.diff(self.start_R1))
        return most_L


def two_halves(
    con: DuckDBPyConnection, info: TraceInfo, *, accesses: int, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The documents of the half of the groups that chooses and of the half that judges, each with
    about so many accesses, always the same: whole texts, or the beginnings of some where every text
    has more. Where a half would be empty, all judge."""
    texts = queries.documents(con)
    texts = texts[texts.tokens > 0]
    texts = texts.assign(domain_id=pd.Index(info.domains).get_indexer(pd.Index(texts.domain)))
    groups = texts.groupby("unit").agg({"domain_id": "first", "tokens": "sum"})
    judges_N = judging_half(groups.tokens.to_numpy(), groups.domain_id.to_numpy(), seed=seed)
    judges = texts.unit.isin(groups.index[judges_N])
    if judges.all() or not judges.any():
        judges = pd.Series(True, texts.index)
    tokens = max(1, int(accesses / max(_accesses_a_token(con, info), 1e-9)))
    return _drawn(texts[~judges], tokens, seed), _drawn(texts[judges], tokens, seed)


def _accesses_a_token(con: DuckDBPyConnection, info: TraceInfo) -> float:
    k = queries.domain_k(con)
    return float((k.k * k.tokens).sum()) / max(info.num_tokens, 1)


def _drawn(texts: pd.DataFrame, tokens: int, seed: int) -> pd.DataFrame:
    """In the order of capture, of texts drawn until they hold so many tokens, with the tokens to
    read: all, or the first of some texts where every one is too long."""
    shuffled = texts.sample(frac=1, random_state=seed)
    short = shuffled[shuffled.tokens <= tokens]
    if len(short):
        before = short.tokens.cumsum() - short.tokens
        drawn = short[before < tokens].assign(read=short.tokens)
    else:
        drawn = shuffled.head(min(BEGINNINGS, tokens))
        drawn = drawn.assign(read=tokens // max(len(drawn), 1))
    return drawn.sort_values("doc_id", ignore_index=True)


def read_requests(con: DuckDBPyConnection, info: TraceInfo, texts: pd.DataFrame) -> Requests:
    """Of these documents (doc_id, ascending, unit, domain_id, tokens, read: how many of them)."""
    doc_ids = texts.doc_id.to_numpy()
    rows = _choices(con, info, texts)
    place_A, layer_A = places(rows), rows["layer_id"].astype(np.int32)
    new_token_A = np.append(True, place_A[1:] != place_A[:-1])[: len(place_A)]
    new_A = new_token_A | np.append(True, layer_A[1:] != layer_A[:-1])[: len(layer_A)]
    start_R = np.flatnonzero(new_A)
    first_L = np.cumsum(info.layer_sizes) - info.layer_sizes
    return Requests(
        expert_A=(first_L[layer_A] + rows["expert_id"]).astype(np.int32),
        start_R1=np.append(start_R, len(layer_A)),
        layer_R=layer_A[start_R],
        token_R=np.cumsum(new_token_A)[start_R] - 1,
        document_R=np.searchsorted(doc_ids, rows["doc_id"][start_R]).astype(np.int32),
        unit_D=texts.unit.to_numpy(),
        domain_id_D=texts.domain_id.to_numpy(),
        experts_L=info.layer_sizes,
        shortened=int((texts.read < texts.tokens).sum()),
    )


def _choices(
    con: DuckDBPyConnection, info: TraceInfo, texts: pd.DataFrame
) -> dict[str, np.ndarray]:
    """doc_id, position, layer_id, expert_id of every choice of these documents, in their order."""
    rows = _joined(_flat(batch) for batch in _batches(con, texts))
    sizes = info.layer_sizes
    if (rows["layer_id"] >= len(sizes)).any():
        raise TraceError("this trace is damaged: it names a layer that it lacks; copy it again")
    if (rows["expert_id"] >= sizes[rows["layer_id"]]).any():
        raise TraceError("this trace is damaged: it names an expert that it lacks; copy it again")
    place_A, layer_A = places(rows), rows["layer_id"]
    later_A = place_A[1:] > place_A[:-1]
    if (later_A | ((place_A[1:] == place_A[:-1]) & (layer_A[1:] >= layer_A[:-1]))).all():
        return rows
    order = np.lexsort((layer_A, place_A))  # stable: ranks stay in order
    return {name: column[order] for name, column in rows.items()}


def _batches(con: DuckDBPyConnection, texts: pd.DataFrame) -> Iterator[pa.RecordBatch]:
    if (texts.read == texts.tokens).all():
        yield from document_rows.choice_lists_of(con, texts.doc_id.tolist())
        return
    for doc_id, read in zip(texts.doc_id.tolist(), texts.read.tolist(), strict=True):
        yield from document_rows.choice_lists(con, (doc_id, 0), (doc_id, read - 1))


def _joined(parts: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """One array of each column, however many parts there are."""
    begun = [dict.fromkeys(COLUMNS, np.empty(0, np.uint16)), *parts]
    return {name: np.concatenate([part[name] for part in begun]) for name in COLUMNS}


def _flat(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    lists = batch["expert_ids"]
    expert_id = lists.flatten()
    times = lists.value_lengths().fill_null(0).to_numpy()
    columns = {name: np.repeat(batch[name].to_numpy(), times) for name in COLUMNS[:-1]}
    kept = expert_id.is_valid().to_numpy(zero_copy_only=False)  # where none ran, there is no id
    columns["expert_id"] = expert_id.fill_null(0).to_numpy()
    return {name: column[kept] for name, column in columns.items()}
