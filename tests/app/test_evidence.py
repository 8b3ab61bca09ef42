"""Traces that cannot show everything: pages and tables show what makes sense and say the rest."""

import re
from pathlib import Path

import numpy as np
import pytest

from analysis.groups import NOT_ENOUGH
from app import evidence
from app.views.export import tables
from app.views.load_balance import summary
from data.labels import ANY
from data.report import csv_text
from tests.app.incomplete_traces import CASES, open_case
from tests.app.pages import page, words
from tests.sampled import sampled

PAGES = ("overview", "specialization", "load_balance", "export")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), sampled(PAGES, CASES, one_of=3))
def test_a_page_shows_what_makes_sense(name: str, case: str, incomplete_traces: Path) -> None:
    app = page(name, trace=case)
    assert not app.exception
    assert not app.error
    shown = words(app)
    assert CASES[case][1] in shown or name == "export"
    assert not re.search(r"\b(nan|NaN|inf|Infinity|<NA>|None)\b", shown)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_no_table_has_a_number_that_is_none(case: str, incomplete_traces: Path) -> None:
    trace = open_case(case, incomplete_traces)
    for name, (_, table) in tables.tables(trace).items():
        frame = table()
        numbers = frame.select_dtypes("number").to_numpy(float, na_value=0.0)
        assert not np.isinf(numbers).any(), name
        assert not re.search(r"(^|,)\"?-?(nan|inf|<NA>|None)\"?(,|$)", csv_text(frame), re.M), name


@pytest.mark.parametrize("case", CASES)
def test_whatever_has_no_number_has_a_reason(case: str, incomplete_traces: Path) -> None:
    trace = open_case(case, incomplete_traces)
    for of in (evidence.lifts, evidence.metrics, evidence.expert_loads):
        table = of(trace)
        assert (table.note[table.estimate.isna()] != "").all()
        assert table.estimate[table.low.notna()].notna().all()


def test_few_texts_are_refused_where_enough_have_intervals_and_tests(
    incomplete_traces: Path,
) -> None:
    few, enough = (open_case(name, incomplete_traces) for name in ("few_documents", "top_1"))
    for numbers in (["low", "high"], ["p", "q"]):
        assert evidence.lifts(few)[numbers].isna().all(axis=None)
        assert evidence.lifts(enough)[numbers].notna().all(axis=None)
        assert evidence.expert_loads(few, "math")[numbers].isna().all(axis=None)
        assert evidence.expert_loads(enough)[numbers].notna().all(axis=None)
    assert set(evidence.lifts(few).note) == {NOT_ENOUGH}
    known = evidence.metrics(few).dropna(subset="estimate")
    unsure = known[known.metric != "dead_experts"]
    assert unsure.low.isna().all()
    assert unsure.note.str.startswith(NOT_ENOUGH).all()


def test_load_of_a_domain_is_that_of_its_documents(incomplete_traces: Path) -> None:
    trace = open_case("two_documents", incomplete_traces)
    table = evidence.domain_metrics(trace)
    long = table[table.domain == "long"]
    assert set(long.n_documents) == {2}
    assert set(long.n_tokens) == {80}
    assert set(table.metric) == set(evidence.LOAD_METRICS)


def test_a_layer_without_tokens_counts_none(incomplete_traces: Path) -> None:
    trace = open_case("dead_layer", incomplete_traces)
    table = evidence.metrics(trace)
    assert table.groupby("layer_id").n_tokens.first().tolist() == [960, 0]
    imbalance = table[table.metric == "load_imbalance"].set_index("layer_id").loc[1]
    assert imbalance.note.startswith("layer 1 has no routed tokens")
    assert summary.dead(evidence.absence(trace)) == (
        "Dead experts",
        "0",
        "of 8, balanced < 0.01",
    )


def test_counts_of_experts_leave_with_their_intervals(incomplete_traces: Path) -> None:
    trace = open_case("two_documents", incomplete_traces)
    whole, by_layer = evidence.expert_counts(trace)
    assert list(whole) == [*evidence.COUNT_COLUMNS]
    assert list(by_layer) == ["layer_id", *evidence.COUNT_COLUMNS]
    labels = whole[whole.domain != ANY]
    assert labels.experts.sum() == by_layer.experts.sum() == 2 * 8  # layers, experts
    assert labels.null.sum() == pytest.approx(16)
    known = whole[whole.p.notna() & (whole.domain != "none")]
    assert (known.low <= known.experts).all()
    assert (known.high >= known.experts).all()
