"""Single tokens of some documents: what is read where sums are not enough. As in queries.py, each
function runs the file of its name in analysis/sql."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from duckdb import DuckDBPyConnection

from analysis import asked

LISTS_AT_ONCE = 1 << 16  # what stays in a cache


def choice_lists(
    con: DuckDBPyConnection, first: tuple[int, int], last: tuple[int, int]
) -> Iterator[pa.RecordBatch]:
    """doc_id, position, layer_id, expert_ids (none where none ran), weights (none where unknown) of
    the tokens from one (doc_id, position) to another, both included, as they come. Who reads a
    whole trace reads it in such parts."""
    places = {"first_doc_id": first[0], "first_position": first[1]}
    places |= {"last_doc_id": last[0], "last_position": last[1]}
    query = (asked.SQL / "choice_lists.sql").read_text()
    yield from con.sql(query, params=places).to_arrow_reader(LISTS_AT_ONCE)


def choice_lists_of(con: DuckDBPyConnection, doc_ids: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """The same of these documents, in any order, and first_rank, that of the first of a list."""
    query = (asked.SQL / "choice_lists_of.sql").read_text()
    yield from con.sql(query, params={"doc_ids": doc_ids}).to_arrow_reader(LISTS_AT_ONCE)


def margins_of(
    con: DuckDBPyConnection, doc_ids: Sequence[int], *, most: int
) -> dict[str, np.ndarray]:
    """doc_id, position (below most), layer_id, margin, where it is known; in any order."""
    return asked.arrays(con, "margins_of", doc_ids=doc_ids, most=most)


def tokens_of(con: DuckDBPyConnection, doc_ids: Sequence[int], *, most: int) -> pd.DataFrame:
    """doc_id, position (below most), token_id, text, phase, special (whether it is one)."""
    return asked.frame(con, "tokens_of", doc_ids=doc_ids, most=most)


def texts_of(con: DuckDBPyConnection, doc_ids: Sequence[int]) -> pd.DataFrame:
    """doc_id, text; whole."""
    return asked.frame(con, "texts_of", doc_ids=doc_ids)


def token_phases(
    con: DuckDBPyConnection, doc_ids: Sequence[int], *, positions: int
) -> dict[str, np.ndarray]:
    """doc_id, position (below `positions`), phase (a place in PHASES); in order."""
    return asked.arrays(con, "token_phases", doc_ids=doc_ids, positions=positions)


def document_phases(con: DuckDBPyConnection) -> pd.DataFrame:
    """doc_id, phase (a place in PHASES), tokens, where there are any."""
    return asked.frame(con, "document_phases")


def sizes_of(con: DuckDBPyConnection, doc_ids: Sequence[int]) -> pd.DataFrame:
    """doc_id, tokens, first_position and last_position (of a part of a text that is all that was
    recorded it is not 0), leads (the first document of its group), of those that are in the
    trace."""
    return asked.frame(con, "sizes_of", doc_ids=doc_ids)


def first_choices(
    con: DuckDBPyConnection, layer_id: int, *, doc_ids: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """doc_id, position, expert_id, where one ran; of these documents or of all."""
    return asked.arrays(con, "first_choices", layer_id=layer_id, doc_ids=doc_ids)


def tokens_choosing(
    con: DuckDBPyConnection, layer_id: int, expert_id: int, *, doc_ids: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """doc_id, position of the tokens that chose an expert; of these documents or of all."""
    values = {"layer_id": layer_id, "expert_id": expert_id, "doc_ids": doc_ids}
    return asked.arrays(con, "tokens_choosing", **values)


def token_entropies(
    con: DuckDBPyConnection, layer_id: int, *, doc_ids: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """doc_id, position, entropy (nats), where it is known."""
    return asked.arrays(con, "token_entropies", layer_id=layer_id, doc_ids=doc_ids)


def token_losses(
    con: DuckDBPyConnection, *, doc_ids: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """doc_id, position, phase (a place in PHASES), loss (nats, NaN where unknown)."""
    return asked.arrays(con, "token_losses", doc_ids=doc_ids)


def expert_documents(
    con: DuckDBPyConnection, *, layer_id: int, expert_id: int, limit: int
) -> pd.DataFrame:
    """doc_id, tokens, choices, excess; those that choose it most beyond its load first."""
    asked_for = {"layer_id": layer_id, "expert_id": expert_id, "limit": limit}
    return asked.frame(con, "expert_documents", **asked_for)
