"""OLMoE's routing analysis: a JSON line a text, with its token ids and the experts of each token.

T = tokens, K = chosen, L = MoE layers.
"""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO, NamedTuple

import duckdb
import numpy as np

AT_ONCE = 1_000_000  # choices: bounds memory
LAST_POSITION = 2**32 - 1
WITHOUT_PREDICTIONS = "without predicted_token_ids: a trace does not hold what the model predicted"
UNNAMED = "SELECT doc_id, position FROM token WHERE token_id IS NULL ORDER BY ALL LIMIT 1"
EXPERTS_A_TOKEN = """
SELECT min(k), max(k) FROM document_k WHERE EXISTS (SELECT 1 FROM token)
"""
TOKENS = "SELECT doc_id, count(*)::BIGINT AS tokens FROM token GROUP BY doc_id ORDER BY doc_id"
GAPS = """
SELECT coalesce(sum(1 + last - tokens), 0)::BIGINT
FROM (SELECT max(position)::BIGINT AS last, count(*) AS tokens FROM token GROUP BY doc_id)
"""
PLACES = "doc_id BETWEEN $first AND $last AND position BETWEEN $begin AND $end"
TOKEN_IDS = f"SELECT doc_id, position, token_id FROM token WHERE {PLACES} ORDER BY ALL"
CHOSEN = f"SELECT count(*)::BIGINT AS tokens FROM token WHERE {PLACES}"
CHOICES = f"""
SELECT doc_id, position, layer_id, rank, expert_id FROM routing WHERE {PLACES} ORDER BY ALL
"""


class Part(NamedTuple):
    """Some whole texts, or part of a long one."""

    first: int  # doc_id
    last: int
    begin: int = 0  # position
    end: int = LAST_POSITION


def write_jsonl(con: duckdb.DuckDBPyConnection, num_layers: int, file: BinaryIO) -> list[str]:
    """What a reader should know of the file.

    ValueError: a token has no id, or tokens choose different numbers of experts.
    """
    most = max(1, AT_ONCE // (num_layers * experts_a_token(con)))
    texts = _columns(con, TOKENS)
    for low, high in ranges(texts["tokens"], most):
        part = Part(int(texts["doc_id"][low]), int(texts["doc_id"][high - 1]))
        if texts["tokens"][low] > most:
            for piece in _long_line(con, part, num_layers=num_layers, most=most):
                file.write(piece.encode())
        else:
            file.writelines(_lines(con, part, num_layers=num_layers))
    return [WITHOUT_PREDICTIONS, *_gaps(con)]


def experts_a_token(con: duckdb.DuckDBPyConnection) -> int:
    if rows := con.execute(UNNAMED).fetchall():
        raise ValueError(
            f"the trace does not name all of its tokens (document {rows[0][0]}, position "
            f"{rows[0][1]}), and OLMoE's lines hold their ids; import it with what names them"
        )
    least, most = con.execute(EXPERTS_A_TOKEN).fetchall()[0]
    if not most:
        raise ValueError("the trace holds no choices of single tokens, which OLMoE's lines are")
    if least != most:
        raise ValueError(
            f"tokens choose {least} to {most} experts, and OLMoE's lines hold the same number for "
            "every token and layer"
        )
    return int(most)


def ranges(tokens_N: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Texts of at most so many tokens together; one with more is alone."""
    low, held = 0, 0
    for place, tokens in enumerate(tokens_N.tolist()):
        if place > low and held + tokens > most:
            yield low, place
            low, held = place, 0
        held += tokens
    if len(tokens_N):
        yield low, len(tokens_N)


def _lines(con: duckdb.DuckDBPyConnection, part: Part, *, num_layers: int) -> Iterator[bytes]:
    """A text each."""
    tokens = _columns(con, TOKEN_IDS, part)
    experts_TKL = _experts(con, part, num_layers=num_layers)
    starts = np.flatnonzero(np.diff(tokens["doc_id"].astype(np.int64), prepend=-1))
    for begin, end in pairwise([*starts.tolist(), len(experts_TKL)]):
        ids = tokens["token_id"][begin:end].tolist()
        line = {"input_ids": ids, "exp_ids": experts_TKL[begin:end].tolist()}
        yield json.dumps(line).encode() + b"\n"


def _long_line(
    con: duckdb.DuckDBPyConnection, part: Part, *, num_layers: int, most: int
) -> Iterator[str]:
    """The line of one text, piece by piece."""
    tokens = _columns(con, TOKEN_IDS, part)
    yield f'{{"input_ids": {json.dumps(tokens["token_id"].tolist())}, "exp_ids": ['
    for begin in range(0, len(tokens["position"]), most):
        position_T = tokens["position"][begin : begin + most]
        piece = part._replace(begin=int(position_T[0]), end=int(position_T[-1]))
        experts = json.dumps(_experts(con, piece, num_layers=num_layers).tolist())
        yield f"{', ' if begin else ''}{experts[1:-1]}"
    yield "]}\n"


def _experts(con: duckdb.DuckDBPyConnection, part: Part, *, num_layers: int) -> np.ndarray:
    """[T, K, L]; by `experts_a_token`, every token has K in every layer."""
    tokens = _columns(con, CHOSEN, part)["tokens"][0]
    expert_id = _columns(con, CHOICES, part)["expert_id"]
    return expert_id.reshape(int(tokens), num_layers, -1).transpose(0, 2, 1)


def _columns(
    con: duckdb.DuckDBPyConnection, query: str, part: Part | None = None
) -> dict[str, np.ndarray]:
    values = part._asdict() if part else None
    found = con.execute(query, values).fetchnumpy()
    return {name: np.asarray(column) for name, column in found.items()}


def _gaps(con: duckdb.DuckDBPyConnection) -> list[str]:
    missing = con.execute(GAPS).fetchall()[0][0]
    if not missing:
        return []
    return [
        f"{missing:,} tokens of the texts have no routing and are left out; those after them move "
        "up"
    ]
