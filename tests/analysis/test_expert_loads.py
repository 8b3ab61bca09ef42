"""Load of every expert against balance, documents small enough to divide in the head."""

import numpy as np
import pytest

from analysis.expert_loads import expert_load_table
from tests.planted import holds_no_number_that_is_none

ONE = np.zeros(6, int)  # six documents of one domain


def test_a_load_is_the_logarithm_of_its_share_of_the_mean() -> None:
    tokens_NLE = np.tile([[4, 1, 1, 2]], (6, 1, 1))
    table = expert_load_table(tokens_NLE, ONE)
    assert table.estimate.tolist() == [1, -1, -1, 0]  # of a mean of 2
    assert table.n_tokens.tolist() == [24, 6, 6, 12]
    assert table.n_documents.tolist() == [6] * 4


def test_the_interval_comes_from_how_much_documents_differ() -> None:
    tokens_NLE = np.array([[[6, 2]], [[2, 6]]] * 3)
    row = expert_load_table(tokens_NLE, ONE).iloc[0]
    # influences 6/24 - 8/48 = 1/12 and -1/12; s = sqrt(6 / 144 * 6 / 5); t of 5 is 2.571
    assert row.high == pytest.approx(2.571 * np.sqrt(0.05) / np.log(2), abs=1e-3)
    assert row.low == -row.high
    assert (row.p, row.q) == (1, 1)


def test_few_documents_a_dead_expert_and_a_dead_layer_have_a_reason_and_no_number() -> None:
    tokens_NLE = np.array([[[3, 1, 0], [0, 0, 0]]] * 6)
    tokens_NLE[:2, 0, 1] = 0
    table = expert_load_table(tokens_NLE, ONE)
    assert holds_no_number_that_is_none(table)
    empty = "no token was routed in this layer"
    assert table.note.tolist() == ["", "not enough prompts to say", "never chosen", *[empty] * 3]
    assert table.low.isna().tolist() == [False] + [True] * 5
    assert table.estimate.notna().tolist() == [True, True] + [False] * 4


def test_one_document_and_one_expert() -> None:
    table = expert_load_table(np.array([[[3, 1]]]), np.zeros(1, int))
    assert set(table.note) == {"not enough prompts to say"}
    assert table.p.isna().all()
    alone = expert_load_table(np.full((6, 1, 1), 3), ONE)
    assert alone.estimate.tolist() == alone.low.tolist() == alone.high.tolist() == [0]
    assert alone.p.tolist() == [1]
