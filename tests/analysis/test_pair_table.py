import numpy as np
import pandas as pd
import pytest

from analysis.groups import NOT_ENOUGH
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


def counts(num_tokens: int) -> dict[str, int]:
    return {"n_documents": 40, "n_groups": 20, "n_tokens": num_tokens}


@pytest.mark.parametrize("null", ["load", "uniform"])
def test_the_clearest_pair_comes_first(null: Null) -> None:
    tests, num_tokens = layer_tests(20)
    table = pair_table(tests, layer_id=3, null=null, counts=counts(num_tokens))
    assert table.z.abs().is_monotonic_decreasing
    assert (table.layer_id == 3).all()
    assert list(table)[-4:] == ["n_documents", "n_groups", "n_tokens", "reason"]
    assert table[["n_documents", "n_groups", "n_tokens"]].to_numpy().tolist() == [[40, 20, 400]] * 6
    first = table.iloc[0]
    assert first.estimate == pytest.approx(np.log2(first.tokens / first.expected))


@pytest.mark.parametrize("null", ["load", "uniform"])
def test_few_groups_have_lifts_and_a_reason(null: Null) -> None:
    tests, num_tokens = layer_tests(9)
    table = pair_table(tests, layer_id=0, null=null, counts=counts(num_tokens))
    assert table.estimate.notna().all()
    assert table[["low", "high", "z", "p", "q"]].isna().all(axis=None)
    assert set(table.reason) == {NOT_ENOUGH}
