"""Counts of experts by domain: what is planted is sure, what labels give by chance is not."""

import numpy as np
import pandas as pd
import pytest

from analysis.domain_counts import ALL_LAYERS, domain_counts
from analysis.specialization import experts_per_domain
from tests.planted import DOMAINS, holds_no_number_that_is_none, planted


def of_all(tokens_NLE: np.ndarray, domain_id_N: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = domain_counts(tokens_NLE, domain_id_N, domains=DOMAINS)
    assert holds_no_number_that_is_none(table)
    return table, table[table.layer_id == ALL_LAYERS].set_index("domain")


def test_a_planted_expert_is_counted_and_surely_so() -> None:
    tokens_NLE, domain_id_N = planted(documents=30, lift=4.0)
    _, whole = of_all(tokens_NLE, domain_id_N)
    tokens_LEG = np.einsum("nle,ng->leg", tokens_NLE, np.eye(3)[domain_id_N])
    counted = experts_per_domain(tokens_LEG, DOMAINS).experts.tolist()
    assert counted == [0, 1, 0, 7]
    assert (whole.low["code"], whole.high["code"]) == (1, 1)  # no resample loses it
    assert whole.p["code"] == pytest.approx(1 / 101)
    assert whole.q["code"] == pytest.approx(4 / 101 / 2)  # of code and none, two of four rows
    assert whole.null["code"] == 0
    assert whole.p["math"] == 1


def test_shuffled_labels_reach_down_to_no_expert() -> None:
    tokens_NLE, domain_id_N = planted(documents=30)
    shuffled_N = np.random.default_rng(1).permutation(domain_id_N)
    _, whole = of_all(tokens_NLE, shuffled_N)
    assert (whole.p > 0.05).all()
    assert whole.low[:3].tolist() == [0, 0, 0]
    assert whole.high["none"] == 8


def test_layers_add_up_and_one_of_a_single_domain_is_left_out() -> None:
    one, domain_id_N = planted(documents=30, lift=4.0)
    tokens_NLE = np.concatenate([one, one, one], 1)
    tokens_NLE[domain_id_N != 0, 1] = 0
    table, whole = of_all(tokens_NLE, domain_id_N)
    assert table.layer_id.unique().tolist() == [ALL_LAYERS, 0, 2]
    assert whole.low["code"] == 2
    assert whole.n_tokens["code"] == 2 * 30 * 300
    assert (table[table.layer_id == 2].p.to_numpy() == table[table.layer_id == 0].p).all()


def test_few_documents_have_a_null_and_the_reason_why_no_more() -> None:
    tokens_NLE, domain_id_N = planted(documents=2)
    table, _ = of_all(tokens_NLE, domain_id_N)
    assert set(table.note) == {"not enough prompts to say how sure this is"}
    assert table[["low", "high", "p", "q"]].isna().all(axis=None)
    assert table.null.notna().all()


def test_one_domain_has_no_row() -> None:
    tokens_NLE, domain_id_N = planted(documents=4)
    assert domain_counts(tokens_NLE, 0 * domain_id_N, domains=DOMAINS).empty
