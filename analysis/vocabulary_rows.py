"""How far experts follow the word, layer by layer: slow on a long trace, so kept beside it."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import arrays, queries, vocabulary
from analysis.groups import NOT_ENOUGH
from analysis.permutation import false_discovery_rate
from analysis.vocabulary_tests import DEALS, WordTests, layer_figures, word_tests

NUMBERS = ("plain", "token_share", "share", "expected", "corrected", "low", "high", "null", "p")
COLUMNS = (
    "plain",
    "token_ids",
    "token_share",
    "share",
    "expected",
    "corrected",
    "low",
    "high",
    "null",
    "p",
    "q",
    "n_documents",
    "n_groups",
    "n_tokens",
    "reason",
)


def vocabulary_rows(
    con: DuckDBPyConnection, *, deals: int = DEALS, told: Callable[[int], None] = lambda _: None
) -> pd.DataFrame:
    """layer_row() of every layer of a trace, with q; `told` hears of a layer before it begins."""
    rows = []
    for layer_id, layer in enumerate(queries.trace_info(con).layers):
        told(layer_id)
        tests, frame = layer_tests(con, layer_id, deals=deals)
        rows.append(layer_row(tests, frame, layer.num_experts))
    return with_q(pd.DataFrame(rows).rename_axis("layer_id").reset_index())


def layer_row(tests: WordTests, frame: pd.DataFrame, num_experts: int) -> dict[str, object]:
    """summary() and layer_figures() of what layer_tests() gave, and its sample."""
    tokens_VE = first_tokens(frame, num_experts)[1]
    row = vocabulary.vocabulary_summary(tokens_VE, expected_V=tests.expected_V)
    row |= layer_figures(tests)
    if row["reason"] == "" and "low" not in row:
        row["reason"] = f"{NOT_ENOUGH} how sure this is"
    return row | {
        "n_documents": frame.doc_id.nunique(),
        "n_groups": len(tests.domain_id_N),
        "n_tokens": int(frame.first_tokens.sum()),
    }


def layer_tests(
    con: DuckDBPyConnection, layer_id: int, *, deals: int = DEALS
) -> tuple[WordTests, pd.DataFrame]:
    """Of one layer, and the first choices of token_id_choices() that they were made of."""
    frame = queries.token_id_choices(con, layer_id, tokens=arrays.MAX_TOKENS)
    frame = frame[frame.first_tokens > 0]
    units, group = np.unique(frame.unit, return_inverse=True)
    document = np.unique(frame.doc_id, return_inverse=True)[1]
    domain = queries.documents(con).set_index("doc_id").domain[units]
    domain_id_N = pd.factorize(domain)[0]
    return word_tests(frame.assign(document=document, group=group), domain_id_N, deals=deals), frame


def first_tokens(frame: pd.DataFrame, num_experts: int) -> tuple[pd.DataFrame, np.ndarray]:
    """token_id of those that occur, and tokens_VE by them and first expert."""
    ids = pd.DataFrame({"token_id": np.unique(frame.token_id)})
    return ids, arrays.first_choice_array(frame, ids, num_experts)


def with_q(table: pd.DataFrame) -> pd.DataFrame:
    """Missing values as missing values, also of a table read from a file; q over its layers."""
    table = table.reindex(columns=["layer_id", *COLUMNS]).convert_dtypes()
    table = table.astype(dict.fromkeys(NUMBERS, "Float64"))
    q = false_discovery_rate(table.p.to_numpy(float, na_value=np.nan))
    return table.assign(q=pd.array(q, dtype="Float64"))
