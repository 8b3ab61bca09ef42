"""The page Placement."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest

from app.studies.placement import Planned, Settings
from app.studies.placement_words import with_interval
from app.views.placement import elsewhere, figures
from app.views.shared.intervals import Measure
from app.views.shared.theme import LIGHT
from tests.app.pages import page, texts, words
from tests.app.sparse_traces import counted
from tests.placed import write_paired_trace
from tests.uneven import write_uneven_trace


@pytest.fixture
def paired(traces: Path) -> Path:
    write_paired_trace(traces / "paired.duckdb", decoded=4)
    return traces / "paired.duckdb"


def test_before_and_after_stand_in_the_headline_and_in_a_sentence(paired: Path) -> None:
    app = page("placement", gpus="4")
    assert not app.exception
    assert app.metric[0].label == "Busiest GPU"
    assert "→" in app.metric[0].value
    assert "busiest GPU falls from" in texts(app)


def test_the_link_says_what_is_placed(paired: Path) -> None:
    app = page("placement", gpus="4", policy="greedy", phase="decode", batch="16")
    assert not app.exception
    assert app.number_input(key="batch").value == 16
    assert app.metric[0].value == "2.00× → 2.00×"  # all that is generated chooses 3 and 7
    assert "busiest GPU stays at 2.00× the mean" in texts(app)
    assert "No map is surely more even than another" in texts(app)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"gpus": "3"}, "do not spread evenly over 3 GPUs; give 1 or 4 redundant experts"),
        ({"gpus": "4", "nodes": "3"}, "4 GPUs do not spread evenly over 3 nodes"),
    ],
)
def test_numbers_that_do_not_go_together_are_told(
    paired: Path, query: dict[str, str], message: str
) -> None:
    app = page("placement", **query)
    assert not app.exception
    assert any(message in info.value.replace("\\", "") for info in app.info)


def test_a_map_in_use_can_be_given(paired: Path) -> None:
    app = page("placement", gpus="4")
    value = {"physical_to_logical_map": [[7, 6, 5, 4, 3, 2, 1, 0]] * 2}
    app.file_uploader(key="current").set_value(
        [("map.json", json.dumps(value).encode(), "application/json")]
    ).run()
    assert not app.exception
    assert "map in use" in words(app)
    assert "in order" in words(app)  # it is a policy now, beside the map in use


def test_a_map_that_is_none_is_told_literally(paired: Path) -> None:
    app = page("placement", gpus="4")
    for content, message in (
        (b"{}", "mine.json has neither physical_to_logical_map"),
        (b"x", "mine.json is not JSON"),
    ):
        file = ("mine.json", content, "application/json")
        app.file_uploader(key="current").set_value([file]).run()
        assert not app.exception
        assert app.code[0].value.startswith(message)


def test_a_map_that_nobody_gave_is_not_called_the_one_in_use(paired: Path) -> None:
    app = page("placement", gpus="4")
    assert "in order (no map given)" in words(app)
    assert "map in use" not in texts(app)


@pytest.mark.parametrize(
    ("loads", "answer"),
    [
        ({"all texts": 1.5, "a": 1.4, "b": 1.2}, "The plan is least even on a: its busiest GPU"),
        ({"all texts": 1.5, "a": 1.4}, "On a the plan's busiest GPU has 1.40× the mean load."),
        ({"all texts": 1.5}, "On all texts the plan's busiest GPU has 1.50× the mean load."),
        ({"all texts": 1.0, "a": 1.0, "b": 1.0}, "The plan is as even on all: its busiest GPU"),
    ],
)
def test_the_plan_is_worst_on_some_of_the_texts(loads: dict[str, float], answer: str) -> None:
    rows = pd.DataFrame({"texts": list(loads), "estimate": list(loads.values())})
    rows = rows.assign(plan="eplb", measure="busiest_gpu", low=np.nan, high=np.nan)
    of = SimpleNamespace(settings=Settings(gpus=4), in_use=True)
    panel = elsewhere.holds_panel(rows, cast(Planned, of), LIGHT)
    assert panel.answer.startswith(answer)


def test_what_a_link_asks_for_and_is_not_here_is_said(traces: Path) -> None:
    write_paired_trace(traces / "a.duckdb")
    said = page("placement", trace="a", today="gone", domain="law").info[0].value
    assert "The link asks for domain “law” and today=gone, which" in said.replace("\\", "")


def test_of_a_trace_of_some_layers_there_is_no_map_to_download(traces: Path) -> None:
    kept: dict[str, object] = {"capture": {"kept": {"layers": {"kept": [1, 3], "of": 4}}}}
    write_paired_trace(traces / "kept.duckdb", config=kept)
    app = page("placement", gpus="4")
    assert not app.exception
    assert "No map to download: the trace holds layers 1 and 3 alone" in texts(app)


def test_the_load_of_a_gpu_is_relative_to_its_layer() -> None:
    figure = figures.gpu_load_heatmap(np.array([[2.0, 0.5, 1.0], [np.nan] * 3]), LIGHT)
    assert figure.data[0].z[0].tolist() == [1, -1, 0]
    assert np.isnan(figure.data[0].z[1]).all()
    assert figure.data[1].text.tolist()[0] == "layer 0, GPU 0<br><b>2.00×</b> the mean"
    assert len(figure.data[1].text) == 3


def test_a_gpu_and_itself_have_no_colour_but_say_what_it_serves() -> None:
    figure = figures.traffic_heatmap(np.array([[0.5, 0.2], [0.2, 0.4]]), LIGHT, ends=(0.2, 0.2))
    assert np.isnan(figure.data[0].z[0, 0])
    assert figure.data[1].text.tolist()[0] == "GPU 0: serves <b>50.0%</b> of the tokens"


def test_every_map_has_a_mark_with_its_interval() -> None:
    rows = pd.DataFrame(
        {"name": ["a", "b"], "estimate": [1.5, 1.2], "low": [1.4, np.nan], "high": [1.6, np.nan]}
    )
    measure = Measure("busiest GPU", ".2f", "×")
    figure = figures.map_intervals(
        rows, LIGHT, measure=measure, series={"": "x"}, references={"balanced": 1.0}
    )
    assert figure.data[1].x.tolist() == [1.5, 1.2]
    assert figure.data[0].x[:2] == (1.4, 1.6)
    assert figure.data[0].x[3] is None  # without an interval no bar
    shown = [annotation.text for annotation in figure.layout.annotations]
    assert "1.40\N{EN DASH}1.60×" in shown


def test_a_change_has_its_sign() -> None:
    row = pd.Series(
        {"measure": "busiest_gpu", "change": -0.3, "change_low": -0.4, "change_high": 0.1}
    )
    assert with_interval(row, change=True) == "-0.30× (-0.40× to +0.10×)"


@pytest.mark.parametrize("top_k", [2, None])
def test_a_trace_that_counts_only_has_loads_and_says_what_is_unknown(
    traces: Path, top_k: int | None
) -> None:
    counted(traces / "counts.duckdb", top_k=top_k)
    app = page("placement", gpus="2")
    assert not app.exception
    labels = [metric.label for metric in app.metric]
    assert "GPUs a token reaches" not in labels
    assert ("Experts read, GPU with most" in labels) == (top_k is not None)  # a batch of tokens
    assert "which GPUs and nodes serve the same token" in texts(app)
    together = page("placement", gpus="2", policy="co-activation")
    assert any("chosen together" in info.value for info in together.info)


def test_layers_of_different_sizes_are_told(traces: Path) -> None:
    write_uneven_trace(traces / "uneven.duckdb")
    app = page("placement")
    assert not app.exception
    assert any("Layers have 4 to 8 experts" in info.value for info in app.info)
