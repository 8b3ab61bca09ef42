"""Words and contexts of one expert, of all documents or of as many as hold so many tokens."""

import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import asked
from analysis.queries import domain_parameters


def document_sample(con: DuckDBPyConnection, *, tokens: int) -> pd.DataFrame:
    """doc_id, tokens of whole documents until they hold so many tokens, always the same."""
    return asked.frame(con, "document_sample", tokens=tokens)


def expert_top_tokens(
    con: DuckDBPyConnection,
    layer_id: int,
    expert_id: int,
    *,
    limit: int = 20,
    tokens: int | None = None,
) -> pd.DataFrame:
    """token_id, text, tokens, expected, share_of_token (of its occurrences), mean_weight; of all
    documents, or of document_sample().

    Ordered by tokens - expected, where expected is what the expert's load alone would give.
    """
    values = {"layer_id": layer_id, "expert_id": expert_id, "limit": limit, "tokens": tokens}
    return asked.frame(con, "expert_top_tokens", **values)


def expert_contexts(
    con: DuckDBPyConnection,
    layer_id: int,
    expert_id: int,
    *,
    limit: int = 10,
    tokens: int | None = None,
) -> pd.DataFrame:
    """doc_id, position, domain, before, text, after, weight; a row a document of all or of
    document_sample(), strongest first."""
    values = {"layer_id": layer_id, "expert_id": expert_id, "limit": limit, "tokens": tokens}
    return asked.frame(con, "expert_contexts", **values, **domain_parameters(con))
