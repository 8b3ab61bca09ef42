import numpy as np
import pandas as pd
import pytest

from analysis.pair_table import Null, pair_table
from analysis.pairs import pair_significance
from tests.routers import random_choices


def layer_tests(documents: int) -> tuple[pd.DataFrame, int]:
    chosen_TE, document_T = random_choices(
        np.random.default_rng(0),
        num_tokens=400,
        top_k=2,
        log_weights_E=[1, 0, 0, 0],
        documents=documents,
    )
    return pair_significance(chosen_TE, document_T), len(chosen_TE)


@pytest.mark.parametrize("null", ["load", "uniform"])
def test_the_clearest_pair_comes_first(null: Null) -> None:
    tests, num_tokens = layer_tests(20)
    table = pair_table(tests, layer_id=3, null=null, num_documents=20, num_tokens=num_tokens)
    assert table.z.abs().is_monotonic_decreasing
    assert (table.layer_id == 3).all()
    first = table.iloc[0]
    assert first.estimate == pytest.approx(np.log2(first.tokens / first.expected))


@pytest.mark.parametrize("null", ["load", "uniform"])
def test_one_document_has_lifts_and_a_reason(null: Null) -> None:
    tests, num_tokens = layer_tests(1)
    table = pair_table(tests, layer_id=0, null=null, num_documents=1, num_tokens=num_tokens)
    assert table.estimate.notna().all()
    assert table[["low", "high", "z", "p", "q"]].isna().all(axis=None)
    assert set(table.reason) == {"one document"}
