"""Where a word or a phrase occurs, and what it chooses. As in queries.py, each function runs the
file of its name in analysis/sql. A word is a token as pages show it."""

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import asked
from analysis.queries import domain_parameters

MOST, DOCUMENTS = 5_000, 1_000  # occurrences of a word whose choices are read, and texts


def token_texts(con: DuckDBPyConnection, *, doc_ids: list[int] | None = None) -> pd.DataFrame:
    """text, tokens (how often it occurs, everywhere or in these documents); the most frequent
    first."""
    return asked.frame(con, "token_texts", doc_ids=doc_ids)


def word_documents(con: DuckDBPyConnection, text: str) -> pd.DataFrame:
    """doc_id, tokens (of the word); always in the same order."""
    return asked.frame(con, "word_documents", text=text)


def drawn(held: pd.DataFrame, *, most: int = MOST, documents: int = DOCUMENTS) -> pd.DataFrame:
    """The first rows of word_documents(), until they are so many or hold the word `most` times."""
    return held[held.tokens.cumsum() - held.tokens < most].head(documents)


def load_of(con: DuckDBPyConnection, doc_ids: list[int]) -> pd.DataFrame:
    """layer_id, expert_id, tokens; only what was chosen."""
    return asked.frame(con, "load_of", doc_ids=doc_ids)


def word_choices(con: DuckDBPyConnection, text: str, doc_ids: list[int]) -> pd.DataFrame:
    """doc_id, layer_id, expert_id, tokens; only what was chosen."""
    return asked.frame(con, "word_choices", text=text, doc_ids=doc_ids)


def range_words(
    con: DuckDBPyConnection, *, doc_ids: list[int], layer_ids: np.ndarray, expert_ids: np.ndarray
) -> pd.DataFrame:
    """doc_id, text, inside (the choices are of these experts, or of the others), choices; only what
    was chosen."""
    experts = {"layer_ids": layer_ids.tolist(), "expert_ids": expert_ids.tolist()}
    return asked.frame(con, "range_words", doc_ids=doc_ids, **experts)


def word_places(con: DuckDBPyConnection, text: str, doc_ids: list[int]) -> pd.DataFrame:
    """doc_id, position: the first in each."""
    return asked.frame(con, "word_places", text=text, doc_ids=doc_ids)


def token_contexts(
    con: DuckDBPyConnection, doc_ids: list[int], positions: list[int]
) -> pd.DataFrame:
    """doc_id, position, domain, before, text, after; a row a token, in the order given."""
    values = {"doc_ids": doc_ids, "positions": positions}
    return asked.frame(con, "token_contexts", **values, **domain_parameters(con))


def phrase_documents(con: DuckDBPyConnection, pattern: str) -> list[int]:
    """doc_ids, ascending."""
    return [row["doc_id"] for row in asked.rows(con, "phrase_documents", pattern=pattern)]


def phrase_excerpts(con: DuckDBPyConnection, pattern: str, doc_ids: list[int]) -> pd.DataFrame:
    """doc_id, position (NA where no token is there), matches, before, match (its first 200
    characters), after."""
    frame = asked.frame(con, "phrase_excerpts", pattern=pattern, doc_ids=doc_ids)
    return frame.astype({"position": "Int64"})


def word_counts(con: DuckDBPyConnection, *, longest: int) -> pd.DataFrame:
    """text, tokens, n_documents, n_groups of words of so many characters at most; the most frequent
    first."""
    return asked.frame(con, "word_counts", longest=longest)


def word_sums(
    con: DuckDBPyConnection, texts: list[str], doc_ids: list[int], units: list[int]
) -> dict[str, np.ndarray]:
    """word (its place in texts), layer_id, expert_id, and of that cell tokens, squares, by_length
    as in word_experts.WordSums."""
    return asked.arrays(con, "word_sums", texts=texts, doc_ids=doc_ids, units=units)
