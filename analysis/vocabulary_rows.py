"""How far experts follow the word, layer by layer: slow on a long trace, so kept beside it."""

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import queries, vocabulary
from analysis.queries import TraceInfo

NUMBERS = ("plain", "token_share", "share", "expected", "corrected")
COLUMNS = ("plain", "token_ids", "token_share", "share", "expected", "corrected", "reason")


def vocabulary_rows(con: DuckDBPyConnection) -> pd.DataFrame:
    """vocabulary_summary of every layer of a trace."""
    info, ids = queries.trace_info(con), queries.token_ids(con)
    layers = [first_tokens(con, ids, info, layer) for layer in range(info.num_layers)]
    table = vocabulary.vocabulary_summary(layers).reindex(columns=["layer_id", *COLUMNS])
    return typed(table)


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Missing values as missing values, also of a table read from a file."""
    return table.astype(dict.fromkeys(NUMBERS, "Float64"))


def first_tokens(
    con: DuckDBPyConnection, ids: pd.DataFrame, info: TraceInfo, layer_id: int
) -> np.ndarray:
    """tokens_VE of one layer: by token id and first expert."""
    return queries.first_choice_array(queries.token_id_choices(con, layer_id), ids, info)
