"""Counts of experts by domain: what is planted is sure, what labels give by chance is not."""

import numpy as np
import pandas as pd
import pytest

from analysis import domain_counts as module
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


def test_the_mean_over_layers_skips_those_without_a_number() -> None:
    numbers = pd.DataFrame(
        {"estimate": [0.1, 0.3, None], "low": [0.0, 0.2, None], "high": [0.2, 0.4, None]}
    )
    table = numbers.astype("Float64").assign(metric="gini", null=0.0)
    mean = module.mean_over_layers(table, "gini")
    assert mean.round(9).tolist() == [0.2, 0.1, 0.3, 0.0]


def test_significant_and_undecided_experts_are_counted_by_domain() -> None:
    tokens_LEG = np.array([[[900, 100], [100, 900], [500, 500]]])
    lifts = pd.DataFrame(
        {
            "layer_id": 0,
            "domain": ["math", "code"] * 3,
            "estimate": [0.85, -2.3, -2.3, 0.85, 0.0, 0.9],
            "low": [0.5, -3.0, -3.0, None, -0.1, -0.1],
            "q": [0.01, 0.01, 0.01, 0.01, 0.9, 0.01],
            "note": ["", "", "", "", "not enough prompts to say", ""],
            "n_documents": [9, 8] * 3,
        }
    )
    table = module.experts_per_domain(tokens_LEG, lifts, ("math", "code"))
    table = table.set_index("domain")
    assert table.experts.tolist() == [1, 1, 1]
    assert table.significant.tolist()[:2] == [1, 0]  # code: no interval, and one that reaches 1×
    assert table.not_enough.tolist()[:2] == [1, 0]
    assert table.n_documents.tolist()[:2] == [9, 8]
    assert table.loc["none"].isna().sum() == 3
