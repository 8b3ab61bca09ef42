"""How far experts follow the word, layer by layer: slow on a long trace, so kept beside it."""

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import arrays, queries, vocabulary
from analysis.groups import NOT_ENOUGH
from analysis.permutation import false_discovery_rate
from analysis.queries import TraceInfo
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
NOT_DEALT = "p and q: run `routescope information`"


def vocabulary_rows(con: DuckDBPyConnection, *, deals: int = DEALS) -> pd.DataFrame:
    """vocabulary_summary of every layer of a trace with layer_figures; without deals p is empty."""
    info, ids = queries.trace_info(con), queries.token_ids(con)
    layers, expected, figures = [], [], []
    for layer_id in range(info.num_layers):
        tests, frame = layer_tests(con, layer_id, deals=deals)
        layers.append(arrays.first_choice_array(frame, ids, info.layers[layer_id].num_experts))
        expected.append(tests.expected_V)
        counted = {
            "n_documents": frame.doc_id.nunique(),
            "n_groups": len(tests.domain_id_N),
            "n_tokens": int(frame.first_tokens.sum()),
        }
        figures.append(layer_figures(tests) | counted)
    table = vocabulary.vocabulary_summary(layers, expected=expected)
    table = with_q(table.join(pd.DataFrame(figures)))
    known = (table.reason == "").fillna(False)
    table.loc[known & table.low.isna(), "reason"] = f"{NOT_ENOUGH} how sure this is"
    if not deals:
        table.loc[known & table.low.notna(), "reason"] = NOT_DEALT
    return table


def layer_tests(
    con: DuckDBPyConnection, layer_id: int, *, deals: int = DEALS
) -> tuple[WordTests, pd.DataFrame]:
    """Of one layer, and the token_id_choices they were made of."""
    frame = queries.token_id_choices(con, layer_id)
    units, group = np.unique(frame.unit, return_inverse=True)
    document = np.unique(frame.doc_id, return_inverse=True)[1]
    domain = queries.documents(con).set_index("doc_id").domain[units]
    domain_id_N = pd.factorize(domain)[0]
    return word_tests(frame.assign(document=document, group=group), domain_id_N, deals=deals), frame


def with_q(table: pd.DataFrame) -> pd.DataFrame:
    """Missing values as missing values, also of a table read from a file; q over its layers."""
    table = table.reindex(columns=["layer_id", *COLUMNS]).astype(dict.fromkeys(NUMBERS, "Float64"))
    q = false_discovery_rate(table.p.to_numpy(float, na_value=np.nan))
    return table.assign(q=pd.array(q, dtype="Float64"))


def first_tokens(
    con: DuckDBPyConnection, ids: pd.DataFrame, info: TraceInfo, layer_id: int
) -> np.ndarray:
    """tokens_VE of one layer: by token id and first expert."""
    num_experts = info.layers[layer_id].num_experts
    return arrays.first_choice_array(queries.token_id_choices(con, layer_id), ids, num_experts)
