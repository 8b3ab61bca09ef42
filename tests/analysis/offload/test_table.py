from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import queries
from analysis.domain_counts import ALL_LAYERS
from analysis.offload.caches import Setting, Subject, simulate
from analysis.offload.predictions import fit
from analysis.offload.requests import NO_TOKENS, Requests
from analysis.offload.rules import RULES
from analysis.offload.table import (
    hit_rate_table,
    of_all_layers,
    prediction_table,
    subject_of,
    with_costs,
)
from analysis.ratios import ratio_interval
from data.store import open_trace
from tests.app.sparse_traces import counted
from tests.cache_requests import requests_of

COLD = Setting(slots=4, per_layer=False, cold=True)


def drawn(documents: int, *, seed: int = 0) -> Requests:
    """Texts of 20 tokens through two layers of 6 experts, 2 chosen; each text prefers some."""
    rng = np.random.default_rng(seed)
    tokens = 20 * documents
    document_T = np.repeat(np.arange(documents), 20)
    taste_NLE = rng.normal(size=(documents, 2, 6))
    key_TLE = taste_NLE[document_T] + rng.gumbel(size=(tokens, 2, 6))
    ids_TLK = np.argsort(-key_TLE, -1)[..., :2]
    return requests_of(ids_TLK, document_T=document_T, experts_L=np.array([6, 6]))


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject.of(drawn(40), fit(drawn(40, seed=1)))


def test_a_row_a_policy_and_layer_with_the_interval_over_groups(subject: Subject) -> None:
    table = hit_rate_table(subject, [COLD])
    assert len(table) == len(RULES) * 3
    row = table[(table.policy == "lru") & (table.layer_id == ALL_LAYERS)].iloc[0]
    found = simulate(subject, "lru", COLD)
    hits_N, asked_N = found.hits_NL.sum(1), found.asked_NL.sum(1)
    assert asked_N.tolist() == [80] * 40  # 20 tokens, 2 layers, 2 chosen
    expected = ratio_interval(hits_N, asked_N)
    assert (row.estimate, row.low, row.high) == pytest.approx(tuple(expected.values()))
    assert row.low < row.estimate < row.high
    assert row.null == 4 / 12
    assert (row.n_groups, row.n_tokens) == (40, 800)
    assert row.misses == pytest.approx(4 * (1 - row.estimate))


def test_layers_add_up_to_all_of_them(subject: Subject) -> None:
    table = hit_rate_table(subject, [COLD])
    for _, rows in table.groupby("policy"):
        parts = rows[rows.layer_id != ALL_LAYERS]
        whole = rows[rows.layer_id == ALL_LAYERS].iloc[0]
        assert parts.misses.sum() == pytest.approx(whole.misses)
        assert parts.ahead.sum() == pytest.approx(whole.ahead)
        assert parts.estimate.mean() == pytest.approx(whole.estimate)  # asked equally often


def test_gains_are_paired_with_lru(subject: Subject) -> None:
    rows = of_all_layers(hit_rate_table(subject, [COLD]), per_layer=False, cold=True)
    rows = rows.set_index("policy")
    gain = rows.estimate - rows.estimate.lru
    assert rows.gain.to_list() == pytest.approx(gain.to_list())
    assert rows.gain.lru == 0
    paired, apart = rows.loc["belady", ["gain_low", "gain_high"]], rows.loc["belady"]
    assert paired.gain_high - paired.gain_low < apart.high - apart.low


def test_the_null_of_a_divided_cache_is_that_of_the_layer() -> None:
    requests = requests_of(np.zeros((30, 2, 1), int), experts_L=np.array([2, 8]))
    setting = Setting(slots=5, per_layer=True, cold=True)
    table = hit_rate_table(Subject.of(requests, None), [setting])
    lru = table[table.policy == "lru"].set_index("layer_id")
    assert lru.null.to_dict() == {ALL_LAYERS: 0.5, 0: 0.5, 1: 0.5}
    assert set(table.policy) == {"belady", "lru", "lfu", "least_stale", "prefetch_previous_token"}


def test_stages_are_told_and_layers_can_be_left_out(subject: Subject) -> None:
    told: list[int] = []
    table = hit_rate_table(subject, [COLD, COLD], by_layer=False, told=told.append)
    assert told == [0, 1]
    assert (table.layer_id == ALL_LAYERS).all()


def test_precision_and_recall_are_equal_where_all_choose_as_many_as_are_predicted(
    subject: Subject,
) -> None:
    table = prediction_table(subject)
    assert table.groupby("predictor").estimate.nunique().tolist() == [1, 1]
    assert np.allclose(table.null, 2 / 6)
    previous = table[table.predictor == "previous_token"].iloc[0]
    assert previous.low > previous.null  # texts have a taste


def test_a_prediction_is_held_against_the_most_chosen_of_the_same_requests() -> None:
    """Layer 0 always chooses 0; layer 1 chooses 0 or 1 as the token before did not. From
    transitions only layer 1 is predicted, where the most chosen expert, 0, is right half of the
    time; of all requests it would be right three times in four."""
    ids_TLK = np.array([[[0], [token % 2]] for token in range(400)])
    document_T = np.repeat(np.arange(40), 10)
    requests = requests_of(ids_TLK, document_T=document_T, experts_L=np.array([2, 2]))
    table = prediction_table(Subject.of(requests, fit(requests)))
    rows = table[table.measure == "precision"].set_index("predictor")
    assert rows.most_chosen.transitions == rows.estimate.transitions == 0.5
    assert rows.gain.transitions == 0
    previous = rows.loc["previous_token"]
    assert previous.estimate == 0.5  # layer 0 always, layer 1 never
    assert previous.most_chosen == pytest.approx((1 + 4 / 9) / 2)  # the nine after the first
    assert previous.gain == pytest.approx(previous.estimate - previous.most_chosen)


def test_gains_over_the_most_chosen_are_paired(subject: Subject) -> None:
    row = prediction_table(subject).iloc[0]
    assert row.predictor == "previous_token"
    assert row.gain_low > 0  # texts have a taste
    assert row.gain == pytest.approx(row.estimate - row.most_chosen)
    alone = prediction_table(Subject.of(subject.requests, None))
    assert alone[["most_chosen", "gain", "gain_low", "gain_high"]].isna().all(axis=None)
    assert alone.estimate.notna().all()


def test_independent_layers_foretell_no_more_than_their_loads() -> None:
    rng = np.random.default_rng(0)
    ids_TLK = rng.random((4000, 2, 6)).argsort(-1)[..., :2]
    requests = requests_of(
        ids_TLK, document_T=np.repeat(np.arange(40), 100), experts_L=np.array([6, 6])
    )
    table = prediction_table(Subject.of(requests, fit(drawn(40, seed=1))))
    of = table[(table.predictor == "transitions") & (table.measure == "precision")].iloc[0]
    assert of.low < of.null < of.high


def test_costs_are_loads_times_bytes_over_bandwidth() -> None:
    table = pd.DataFrame({"misses": [2.0], "ahead": [1.0]})
    costs = with_costs(table, expert_bytes=5_000_000, bandwidth=1e9).iloc[0]
    assert (costs.megabytes, costs.wait_ms, costs.transfer_ms) == (15, 10, 15)
    assert with_costs(table, expert_bytes=None, bandwidth=1e9).megabytes.isna().all()


def test_counts_without_tokens_are_refused(tmp_path: Path) -> None:
    counted(tmp_path / "c.duckdb", top_k=2)
    with open_trace(tmp_path / "c.duckdb") as con, pytest.raises(ValueError, match=NO_TOKENS):
        subject_of(con, queries.trace_info(con), accesses=100)


def test_a_trace_without_choices_is_refused(empty_trace: Path) -> None:
    with (
        open_trace(empty_trace) as con,
        pytest.raises(ValueError, match="no token of this trace chose an expert; capture some"),
    ):
        subject_of(con, queries.trace_info(con), accesses=100)
