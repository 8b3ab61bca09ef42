"""Experts that follow the word are sure of it; those that follow the document are not."""

import numpy as np
import pandas as pd
import pytest

from analysis.vocabulary import vocabulary_table
from analysis.vocabulary_tests import WordTests, id_columns, layer_figures, word_tests

DOCUMENTS, TOKENS = 40, 50


def followed(
    expert: np.ndarray, token_id: np.ndarray, *, documents: int = DOCUMENTS, deals: int = 50
) -> WordTests:
    document = np.repeat(np.arange(documents), len(expert) // documents)
    columns = {"token_id": token_id, "expert_id": expert, "document": document}
    frame = pd.DataFrame(columns).value_counts().rename("first_tokens").reset_index()
    return word_tests(frame, np.arange(documents) % 2, deals=deals)


def words(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 8, DOCUMENTS * TOKENS)


def test_experts_of_the_word_are_found() -> None:
    rng = np.random.default_rng(0)
    token_id = words(rng)
    expert = np.where(rng.random(token_id.size) < 0.6, token_id, rng.integers(0, 8, token_id.size))
    tests = followed(expert, token_id)
    found = layer_figures(tests)
    truth = 0.6 + 0.4 / 8  # of the first expert
    corrected = ((truth - tests.expected_V) / (1 - tests.expected_V)).mean()
    assert found["low"] < corrected < found["high"]
    assert found["high"] - found["low"] < 0.12
    assert found["p"] == pytest.approx(1 / 51)
    assert abs(found["null"]) < 0.03
    table = id_columns(tests)
    assert table.token_id.tolist() == list(range(8))
    assert table.p.tolist() == table.q.tolist() == pytest.approx([1 / 51] * 8)
    assert ((table.low < truth) & (truth < table.high)).sum() >= 7
    assert (table.n_documents == DOCUMENTS).all()


def test_documents_with_an_expert_and_words_of_their_own_are_no_words() -> None:
    """Every document has one word and one expert for most of its tokens: dealing knows it."""
    rng = np.random.default_rng(1)
    own_N = np.repeat(rng.integers(0, 8, DOCUMENTS), TOKENS)
    pick = np.repeat(rng.integers(0, 8, DOCUMENTS), TOKENS)
    token_id = np.where(rng.random(own_N.size) < 0.8, own_N, words(rng))
    expert = np.where(rng.random(own_N.size) < 0.8, pick, words(rng))
    tests = followed(expert, token_id)
    found = layer_figures(tests)
    assert found["null"] > 0.1  # beyond what the layer's load gives
    assert found["p"] > 0.05
    assert (id_columns(tests).q > 0.05).all()


def test_the_spread_of_a_share_is_that_of_documents() -> None:
    """Ten documents say one word ten times; in half of them 8 go to expert 0, in half 6."""
    expert = np.concatenate([[0] * n + [1] * (10 - n) for n in (8, 6) * 5])
    tests = followed(expert, np.zeros(100, int), documents=10, deals=0)
    assert tests.share_V.tolist() == [0.7]
    row = id_columns(tests).iloc[0]
    error = np.sqrt(10 * 1**2 * 10 / 9) / 100  # each document is one token off
    assert row.high - row.low == pytest.approx(2 * 2.262157 * error, rel=1e-4)


def test_what_is_not_known_is_left_out() -> None:
    assert layer_figures(followed(np.zeros(40, int), np.zeros(40, int), documents=4)) == {}
    rare = followed(np.arange(40) % 2, np.arange(40), documents=4)
    assert layer_figures(rare) == {}
    few = followed(np.arange(40) % 2, np.arange(40) % 4, documents=2, deals=0)
    assert layer_figures(few) == {}
    assert id_columns(few).low.isna().all()


def test_the_expectation_is_that_of_the_table_of_words() -> None:
    rng = np.random.default_rng(3)
    expert, token_id = words(rng), np.minimum(words(rng), 6) * 5
    tests = followed(expert, token_id, deals=0)
    tokens_VE = np.zeros((7, 8), int)
    np.add.at(tokens_VE, (token_id // 5, expert), 1)
    ids = pd.DataFrame({"token_id": np.arange(7) * 5, "text": "w"})
    made = vocabulary_table(tokens_VE, ids)
    given = vocabulary_table(tokens_VE, ids, expected_V=tests.expected_V)
    pd.testing.assert_frame_equal(made, given)
