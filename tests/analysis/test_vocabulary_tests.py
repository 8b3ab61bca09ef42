"""Experts that follow the word are sure of it; those that follow the document are not."""

import numpy as np
import pandas as pd
import pytest

from analysis.vocabulary import vocabulary_table
from analysis.vocabulary_tests import WordTests, id_columns, layer_figures, word_tests

DOCUMENTS, TOKENS = 40, 50


def followed(
    expert: np.ndarray,
    token_id: np.ndarray,
    *,
    documents: int = DOCUMENTS,
    of_group: int = 1,
    deals: int = 50,
) -> WordTests:
    """Documents of equal length, so many in a group that follow one another."""
    document = np.repeat(np.arange(documents), len(expert) // documents)
    columns = {"token_id": token_id, "expert_id": expert, "document": document}
    columns["group"] = document // of_group
    frame = pd.DataFrame(columns).value_counts().rename("first_tokens").reset_index()
    return word_tests(frame, np.arange(documents // of_group) % 2, deals=deals)


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
    assert (table.n_groups == DOCUMENTS).all()
    assert (table.effective_number > 0.8 * DOCUMENTS).all()


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


def test_the_spread_of_a_share_is_that_of_groups() -> None:
    """12 groups say one word ten times; in half of them 8 go to expert 0, in half 6."""
    expert = np.concatenate([[0] * n + [1] * (10 - n) for n in (8, 6) * 6])
    tests = followed(expert, np.zeros(120, int), documents=12, deals=0)
    assert tests.share_V.tolist() == [0.7]
    row = id_columns(tests).iloc[0]
    error = np.sqrt(12 * 1**2 * 12 / 11) / 120  # each group is one token off
    assert row.high - row.low == pytest.approx(2 * 2.200985 * error, rel=1e-4)
    assert (row.n_groups, row.effective_number) == (12, pytest.approx(12))


def test_texts_of_one_group_are_one_observation() -> None:
    """24 texts in pairs that send as many of ten tokens to expert 0."""
    expert = np.concatenate([[0] * n + [1] * (10 - n) for n in (8, 8, 6, 6) * 6])
    alone, paired, few = (
        id_columns(followed(expert, np.zeros(240, int), documents=24, of_group=size, deals=0)).iloc[
            0
        ]
        for size in (1, 2, 3)
    )
    assert (alone.n_groups, paired.n_groups, few.n_groups) == (24, 12, 8)
    assert paired.low + paired.high == pytest.approx(alone.low + alone.high)
    error = np.sqrt(12 * 2**2 * 12 / 11) / 240  # each pair is two tokens off
    assert paired.high - paired.low == pytest.approx(2 * 2.200985 * error, rel=1e-4)
    assert paired.high - paired.low > 1.4 * (alone.high - alone.low)
    assert pd.isna(few.low)


def test_a_layer_is_as_sure_as_its_groups() -> None:
    rng = np.random.default_rng(0)
    token_id = words(rng)
    favoured = np.repeat(rng.random(DOCUMENTS // 2) < 0.5, 2 * TOKENS)  # of pairs of documents
    expert = np.where(rng.random(token_id.size) < np.where(favoured, 0.9, 0.3), token_id, 0)
    alone, paired = (layer_figures(followed(expert, token_id, of_group=size)) for size in (1, 2))
    assert paired["high"] - paired["low"] > 1.2 * (alone["high"] - alone["low"])
    assert (paired["null"], paired["p"]) == (alone["null"], alone["p"])  # dealt within documents
    few = layer_figures(followed(expert, token_id, of_group=4))  # ten groups, five a domain
    assert set(few) == {"null", "p"}


def test_a_word_that_one_long_group_says_most_has_no_interval() -> None:
    """30 groups say it once and one 60 times: (30 + 60)^2 / (30 + 3600) = 2.2 of equal length."""
    columns = {"token_id": 0, "expert_id": np.arange(31) % 2, "document": np.arange(31)}
    frame = pd.DataFrame(columns).assign(group=np.arange(31), first_tokens=[1] * 30 + [60])
    row = id_columns(word_tests(frame, np.zeros(31, int), deals=0)).iloc[0]
    assert (row.n_groups, row.effective_number) == (31, pytest.approx(90**2 / 3_630))
    assert pd.isna([row.low, row.high]).all()


def test_groups_all_alike_have_no_interval() -> None:
    """Of every word two tokens go to expert 0 and one to expert 1, in each group."""
    expert, token_id = np.tile([0, 0, 1], 120), np.tile(np.repeat([0, 1, 2], 3), 40)
    tests = followed(expert, token_id)
    assert {"low", "high"} & set(layer_figures(tests)) == set()
    assert id_columns(tests)[["low", "high"]].isna().all(axis=None)


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
