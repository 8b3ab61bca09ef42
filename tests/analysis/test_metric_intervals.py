"""Figures of a layer over groups: estimate, interval, null."""

import numpy as np
import pandas as pd
import pytest

from analysis import load, specialization
from analysis.groups import NOT_ENOUGH
from analysis.metric_intervals import DOMAIN_METRICS, LOAD_METRICS, metric_table
from tests.planted import DOMAINS, holds_no_number_that_is_none, planted


def by_metric(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, *, domains: tuple[str, ...] = DOMAINS
) -> pd.DataFrame:
    table = metric_table(tokens_NLE, domain_id_N, domains=domains)
    assert holds_no_number_that_is_none(table)
    return table[table.layer_id == 0].set_index("metric")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return by_metric(*planted(documents=60))


def test_the_estimate_is_the_metric_of_the_whole_trace(table: pd.DataFrame) -> None:
    tokens_NLE, domain_id_N = planted(documents=60)
    tokens_LEG = (tokens_NLE[:, 0].T @ np.eye(3)[domain_id_N])[None]
    assert table.estimate["gini"] == load.gini(tokens_LEG.sum(-1))[0]
    information = specialization.mutual_information(tokens_LEG)[0]
    assert table.estimate["mutual_information"] == pytest.approx(information)


def test_the_interval_holds_the_corrected_estimate(table: pd.DataFrame) -> None:
    known = table.dropna(subset=["low"])
    assert set(table.index) - set(known.index) == {"dead_experts", "distinct_share"}
    assert ((known.low <= known.corrected) & (known.corrected <= known.high)).all()
    assert table.corrected["mutual_information"] < table.estimate["mutual_information"]


def test_the_null_is_balance_or_permuted_labels(table: pd.DataFrame) -> None:
    assert table.null["load_imbalance"] == table.null["normalized_entropy"] == 1
    assert table.null["busiest_share"] == pytest.approx(3 / 8)
    assert table.low["mutual_information"] > table.null["mutual_information"] > 0
    nothing = by_metric(*planted(lift=1.0))
    assert nothing.low["mutual_information"] == 0
    near = pytest.approx(nothing.null["mutual_information"], rel=0.5)
    assert nothing.estimate["mutual_information"] == near


def test_one_domain_leaves_the_load() -> None:
    tokens_NLE, domain_id_N = planted()
    table = by_metric(tokens_NLE, np.zeros_like(domain_id_N), domains=("unlabelled",))
    assert table.low["gini"] > 0
    assert table.note["mutual_information"] == "one domain: nothing to compare"
    assert table.loc["mutual_information", ["estimate", "low", "null"]].isna().all()


def test_few_groups_have_no_interval() -> None:
    table = by_metric(*planted(documents=9))
    few = f"{NOT_ENOUGH} how sure this is: a domain has 9.0 of equal length, and 10 are needed"
    assert table.note["gini"] == table.note["mutual_information"] == few
    assert table.estimate["gini"] > 0
    assert table.drop("dead_experts")[["low", "high", "p", "q"]].isna().all(axis=None)


def test_one_domain_of_few_groups_leaves_estimates_and_nulls() -> None:
    tokens_NLE, domain_id_N = planted()
    kept_N = np.append(np.arange(60), np.arange(60, 69))  # nine of the third domain
    table = by_metric(tokens_NLE[kept_N], domain_id_N[kept_N])
    table = table.drop("dead_experts")
    assert len(table) == len(LOAD_METRICS) - 1 + len(DOMAIN_METRICS)
    assert table[["low", "high", "p", "q"]].isna().all(axis=None)
    assert set(table.note) == {
        f"{NOT_ENOUGH} how sure this is: a domain has 9.0 of equal length, and 10 are needed"
    }
    assert table[["estimate", "null"]].notna().all(axis=None)


def test_a_giant_group_is_too_few() -> None:
    tokens_NLE, domain_id_N = planted()
    tokens_NLE[0] *= 50  # its domain counts as (29 + 50)^2 / (29 + 2500) = 2.5
    table = by_metric(tokens_NLE, domain_id_N)
    assert table.low.isna().all()
    assert table.p.isna().all()
    assert set(table.note.drop("dead_experts")) == {
        f"{NOT_ENOUGH} how sure this is: a domain has 2.5 of equal length, and 10 are needed"
    }


def test_forty_identical_groups_have_no_interval_and_no_q() -> None:
    tokens_NLE = np.tile([[500, 300, 100]], (40, 1, 1))
    table = by_metric(tokens_NLE, np.arange(40) % 2, domains=DOMAINS[:2])
    assert table[["low", "high", "p", "q"]].isna().all(axis=None)
    figures = table.drop("dead_experts")
    assert set(figures.note) == {"texts all alike: nothing to test"}
    assert figures.estimate["load_imbalance"] == pytest.approx(5 / 3)


def test_few_choices_refuse_distinct_share_in_its_own_words() -> None:
    tokens_NLE, domain_id_N = planted(documents=12)
    table = by_metric(tokens_NLE // 2, domain_id_N)
    assert "no expert with 1000 choices" in table.note["distinct_share"]


def test_a_dead_layer_has_no_figures() -> None:
    tokens_NLE, domain_id_N = planted()
    tokens_NLE = np.concatenate([np.zeros_like(tokens_NLE), tokens_NLE], 1)
    table = by_metric(tokens_NLE, domain_id_N)
    assert table.estimate.dropna().to_dict() == {"dead_experts": 8}
    assert all("no routed tokens" in table.note[name] for name in ("gini", "distinct_share"))


def test_a_count_of_experts_that_no_resample_changes_has_no_interval_and_is_tested(
    table: pd.DataFrame,
) -> None:
    """Expert 5 alone stands apart, in every resample and in no permutation."""
    row = table.loc["distinct_share"]
    assert (row.estimate, row.null) == (1 / 8, 0)
    assert row.note == "no interval: texts drawn again do not change it"
    assert row[["low", "high"]].isna().all()
    assert row.p == pytest.approx(1 / 101)


def test_experts_that_every_token_chooses_tell_nothing_of_the_domain() -> None:
    """Groups of unlike length: figures of 0 give or take the rounding of float32."""
    tokens_NLE = np.repeat(np.arange(300, 340), 3).reshape(40, 1, 3)
    table = by_metric(tokens_NLE, np.arange(40) % 2, domains=DOMAINS[:2])
    assert table.estimate["mutual_information"] == pytest.approx(0, abs=1e-9)
    assert table[["low", "high"]].isna().all(axis=None)
    assert table.p.drop("distinct_share").isna().all()


def test_one_expert() -> None:
    table = by_metric(planted()[0][..., :1], planted()[1])
    assert table.estimate["load_imbalance"] == 1
    assert table.note["load_imbalance"] == "texts all alike: nothing to test"
    assert table.drop("dead_experts").low.isna().all()


def test_an_interval_of_an_even_layer_holds_balance_and_of_an_uneven_one_does_not() -> None:
    even_NLE, domain_id_N = planted(lift=1.0)
    uneven_NLE = even_NLE.copy()
    uneven_NLE[..., 0] *= 5
    for tokens_NLE, balanced in ((even_NLE, True), (uneven_NLE, False)):
        table = metric_table(tokens_NLE, domain_id_N, domains=DOMAINS)
        of_load = table.metric.isin([metric.__name__ for metric in LOAD_METRICS])
        known = table[of_load & table.low.notna()]
        assert len(known) == len(LOAD_METRICS) - 1
        assert (((known.low <= known.null) & (known.null <= known.high)) == balanced).all()


def test_p_says_whether_the_null_shows_as_much() -> None:
    uneven_NLE, domain_id_N = planted(documents=60)
    uneven_NLE[..., 0] *= 5
    found = by_metric(uneven_NLE, domain_id_N)
    assert found.p["gini"] == found.p["normalized_entropy"] == pytest.approx(1 / 1001)
    assert found.p["mutual_information"] == pytest.approx(1 / 101)
    nothing = by_metric(*planted(lift=1.0))
    assert (nothing.p.drop("dead_experts").dropna() > 0.05).all()
    assert nothing.low["mean_divergence"] == 0
    assert nothing.p["dead_experts"] is pd.NA


def test_q_is_over_the_layers_of_the_figure() -> None:
    even_NLE, domain_id_N = planted(lift=1.0, documents=60)
    uneven_NLE = even_NLE.copy()
    uneven_NLE[..., 0] *= 5
    layers_NLE = np.concatenate([even_NLE, uneven_NLE], 1)
    table = metric_table(layers_NLE, domain_id_N, domains=DOMAINS)
    gini = table[table.metric == "gini"]
    (even_p, uneven_p), (even_q, uneven_q) = gini.p, gini.q
    assert uneven_q == pytest.approx(2 * uneven_p)  # the smaller p of two
    assert even_q == pytest.approx(even_p)


def test_gini_loses_in_squares_what_noise_added_in_squares() -> None:
    """Documents of one expert each: the load is even, and all unevenness is their luck."""
    expert_N = np.arange(64) % 8
    expert_N[:8] = 0
    tokens_NLE = 10 * np.eye(8, dtype=np.int64)[expert_N][:, None]
    found = by_metric(tokens_NLE, np.zeros(64, int), domains=("all",))
    assert found.corrected["gini"] < found.estimate["gini"]
    assert found.low["gini"] <= found.corrected["gini"] <= found.high["gini"]
