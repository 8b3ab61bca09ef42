"""Figures of a layer with interval and null."""

import pandas as pd

from app.views.shared import intervals
from app.views.shared.theme import LIGHT


def metrics() -> pd.DataFrame:
    """Two layers: one with an interval, one without tokens."""
    names = ["estimate", "corrected", "low", "high", "null", "p", "q"]
    rows = [[0.2, 0.19, 0.15, 0.25, 0.01, 0.02, 0.04], [None] * 7]
    table = pd.DataFrame(rows, columns=names).astype("Float64")
    note = ["", "no tokens"]
    return table.assign(
        layer_id=[0, 1], metric="information_share", n_documents=9, n_tokens=[100, 0], note=note
    ).assign(n_groups=4)


def test_a_metric_of_every_layer_has_its_interval_and_its_null() -> None:
    bars, nulls, dots = intervals.layer_intervals(
        metrics(), LIGHT, metric="information_share", null="shuffled labels"
    ).data
    assert list(bars.y) == [0.15, 0.25, None, None, None, None]
    assert nulls.y[0] == 0.01
    assert dots.y[0] == 0.2
    assert "19.0% (15.0\N{EN DASH}25.0%) corrected for small-sample bias" in dots.text[0]
    assert "p 0.02, q 0.04 (over layers)" in dots.text[0]
    assert dots.text[1] == "layer 1<br>9 texts in 4 groups, 0 tokens<br>no tokens"


def test_a_number_without_an_interval_is_written_without_one() -> None:
    measure = intervals.MEASURES["load_imbalance"]
    row = pd.Series({"low": pd.NA, "high": pd.NA, "null": 1.0})
    assert intervals.reference(row, measure, "balanced") == "balanced 1×"
    assert measure.text(float("nan")) == ""
    assert [intervals.probability(p) for p in (0.0, 0.0219, 1.0)] == ["< 0.0001", "0.022", "1"]
