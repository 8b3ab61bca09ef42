"""The layer that a page is about: buttons for few layers, a slider below bars for many."""

import math
from pathlib import Path

import pytest

from app.views.shared.intervals import Measure
from app.views.shared.layer_chooser import LayerFigure, layer_bars
from app.views.shared.theme import LIGHT
from tests.app.pages import page
from tests.app.sparse_traces import written

FIGURE = LayerFigure(Measure("busiest expert", ".2f", "×"), [1.0, 3.0, math.nan, 2.0])


def test_bars_reach_from_the_least_to_the_most_and_the_chosen_one_is_coloured() -> None:
    bars = layer_bars(FIGURE, LIGHT, chosen=3).data[1]
    assert list(bars.y) == pytest.approx([0.08, 1.08, 0, 0.58])  # 2 is halfway from 1 to 3
    assert list(bars.marker.color) == [LIGHT.neutral] * 3 + [LIGHT.accent]
    assert bars.hovertext[1] == "layer 1: <b>3.00×</b>"
    assert bars.hovertext[2] == "layer 2: not known"


def test_all_of_the_height_above_a_layer_can_be_clicked() -> None:
    behind = layer_bars(FIGURE, LIGHT, chosen=3).data[0]
    assert list(behind.x) == [0, 1, 2, 3]
    assert set(behind.y) == {1.08}
    assert list(behind.width)[:3] == [1, 1, 1]


def test_layers_that_are_all_alike_have_bars_of_full_height() -> None:
    alike = LayerFigure(FIGURE.measure, [2.0, 2.0])
    assert list(layer_bars(alike, LIGHT, chosen=0).data[1].y) == [1.08, 1.08]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coactivation", "vocabulary"])
def test_a_link_chooses_one_of_17_layers_on_a_slider(name: str, traces: Path) -> None:
    written(traces / "deep.duckdb", layers=17)
    app = page(name, layer="11")
    assert not app.exception
    assert app.select_slider(key="layer").value == 11


@pytest.mark.slow
def test_16_layers_are_buttons(traces: Path) -> None:
    written(traces / "shallow.duckdb", layers=16)
    app = page("coactivation", layer="11")
    assert not app.exception
    assert app.segmented_control(key="layer").value == 11
    assert not app.select_slider
