"""The page Co-activation: pairs of a layer, transitions to the next."""

import numpy as np
import pandas as pd
import pytest

from analysis.pairs import TOO_MANY
from analysis.transitions import transition_significance
from app.views.coactivation import figures as coactivation
from app.views.coactivation import pair_tests
from app.views.coactivation.pair_tests import LayerPairs
from app.views.shared.theme import LIGHT


def test_experts_chosen_together_stand_side_by_side() -> None:
    log_EE = np.full((4, 4), -2.0)
    log_EE[[0, 2], [2, 0]] = log_EE[[1, 3], [3, 1]] = 3.0
    places = coactivation.cluster_order(log_EE).tolist()
    assert abs(places.index(0) - places.index(2)) == 1
    assert abs(places.index(1) - places.index(3)) == 1


def test_pairs_are_marked_where_sure_and_hatched_without_a_colour_where_unknown() -> None:
    tests = pd.DataFrame({"expert_a": [0, 0, 1], "expert_b": [1, 2, 2], "tokens": [9, 8, 0]})
    for null in ("load", "uniform"):
        known = {"expected": [3.0, 8.0, 1.0], "lift": [3.0, 1.0, 0.0], "low": [2.0, 0.5, None]}
        known |= {"high": [4.0, 1.5, None], "z": [6.0, 0.0, None], "q": [0.01, 0.9, None]}
        tests = tests.join(pd.DataFrame(known).add_suffix(f"_{null}"))
    tests = tests.assign(reason=["", "", "fewer than 5 tokens expected"]).convert_dtypes()
    log_EE = coactivation.log_lift(tests, 3, null="load")
    figure = coactivation.pair_heatmap(
        tests, LIGHT, log_EE=log_EE, order_S=np.array([0, 1, 2]), null="load"
    )
    cells, unknown, sure, tested, untested = figure.data
    assert list(zip(sure.x, sure.y, strict=True)) == [(1, 0), (0, 1)]
    assert list(zip(unknown.x, unknown.base + 0.5, strict=True)) == [(2, 1), (1, 2)]
    assert np.isnan([cells.z[1, 2], cells.z[2, 1]]).all()
    assert cells.z[0, 1] == pytest.approx(np.log2(3))
    assert tested.customdata[0].tolist() == pytest.approx([9, 3, 3, 2, 4, 6, 0.01])
    assert tested.hovertemplate.startswith("experts %{y} and %{x}")
    marked = [(0, 1), (0, 2), (1, 0), (2, 0)]  # and no expert with itself
    assert list(zip(tested.y, tested.x, strict=True)) == marked
    assert list(zip(untested.y, untested.x, strict=True)) == [(1, 2), (2, 1)]
    assert "not enough independent texts to say: fewer than 5" in untested.hovertemplate
    assert log_EE[1, 2] == -coactivation.LIMIT - 1  # never, but expected


def test_a_transition_carries_its_interval_and_its_test_or_the_reason() -> None:
    here_T = np.repeat([0, 1], 60)
    joined_T = np.where(np.arange(120) % 6 < 5, here_T, 1 - here_T)
    eye = np.eye(3, dtype=bool)
    tests = transition_significance(eye[here_T], eye[joined_T], np.repeat(range(12), 10))
    order = np.arange(3)
    figure = coactivation.transition_heatmap(
        tests, LIGHT, rows=order, columns=order, layers=("layer 0", "layer 1")
    )
    dots, enough, never = figure.data[-3:]
    tokens, expected, lift, low, high = enough.customdata[0, :5]
    assert (tokens, expected, round(float(lift), 2)) == (50, 30, 1.67)
    assert 1 < low < lift < high < 2
    assert "expected from the loads alone" in enough.hovertemplate
    assert never.hovertemplate.endswith("no test: an expert that was never chosen<extra></extra>")
    assert list(zip(dots.x, dots.y, strict=True)) == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_all_experts_of_a_large_layer_are_drawn_in_cells_that_are_numbers() -> None:
    tests = pd.DataFrame(np.transpose(np.triu_indices(384, 1)), columns=["expert_a", "expert_b"])
    known = {"expected": 4.0, "lift": 2.0, "low": 1.5, "high": 2.5, "z": 5.0, "q": 1e-6}
    tests = tests.assign(tokens=8, reason="", **{f"{name}_load": of for name, of in known.items()})
    log_EE = coactivation.log_lift(tests, 384, null="load")
    figure = coactivation.pair_heatmap(
        tests, LIGHT, log_EE=log_EE, order_S=np.arange(384)[::-1], null="load"
    )
    cells, says = figure.data[0], figure.data[-1]
    assert cells.z.shape == (384, 384)
    assert says.customdata[0, :2].tolist() == [8, 4]
    names = [figure.layout[axis].labelalias["1"] for axis in ("xaxis", "yaxis")]
    assert names == ["382", "382"]  # what hover text calls them
    assert says.text is None
    assert len(figure.to_json()) < 9e6


def test_a_layer_of_too_many_experts_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_tests, "_why_untested", lambda pairs, null: TOO_MANY)
    pairs = LayerPairs(pd.DataFrame({"q_load": [pd.NA]}), {}, "")
    answer = pair_tests.pairs_answer(pairs, layer="layer 0", null="load")
    assert answer.startswith("There are too many experts to say which experts of layer 0 prefer")


def test_the_busiest_experts_stand_by_number() -> None:
    tokens_E = np.arange(100)
    tokens_E[0] = 1_000
    assert coactivation.busiest(tokens_E).tolist() == [0, *range(37, 100)]
