"""Pages and exports of a trace whose layers have 4, 8 and 6 experts and names of two kinds."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import evidence, sidecars, workspace
from app.studies.claims import parse_experts
from app.trace import Trace, open_trace
from app.views.export import tables as export
from app.views.load_balance import panels as load_balance
from app.views.overview.layers import facts
from app.views.prompts import colour_by, meanings
from app.views.prompts import panels as prompts
from app.views.shared.theme import LIGHT
from data.report import csv_text
from tests.app.pages import page, texts
from tests.uneven import SIZES, write_uneven_trace

NAMES = ("encoder 0", "decoder 0", "decoder 1")
PAGES = (
    "overview",
    "specialization",
    "load_balance",
    "coactivation",
    "vocabulary",
    "domain_clusters",
    "causes",
    "prompts",
    "export",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("uneven")
    write_uneven_trace(path / "uneven.duckdb")
    write_uneven_trace(path / "balanced.duckdb", balanced=True)
    return path


@pytest.fixture
def uneven(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Trace:
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(folder))
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(folder / "absent"))
    return open_trace(workspace.trace_file(folder / "uneven.duckdb"))


def shown(name: str, **params: str) -> AppTest:
    app = page(name, trace="uneven", **params)
    assert not app.exception
    return app


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("layer", ["encoder 0", "decoder 1"])
def test_every_page_stands_it(name: str, layer: str, uneven: Trace) -> None:
    shown(name, layer=layer)


@pytest.mark.slow
def test_the_experts_of_a_layer_can_be_chosen(uneven: Trace) -> None:
    for layer, size in zip(NAMES, SIZES, strict=True):
        app = shown("specialization", layer=layer, expert="3")
        assert f"In {layer}, " in texts(app)
        (choice,) = [box for box in app.selectbox if box.key == "expert"]
        assert choice.options == [str(expert) for expert in range(size)]


def test_the_heatmap_of_loads_is_empty_where_there_is_no_expert(uneven: Trace) -> None:
    for by_load in (False, True):
        panel = load_balance.panels(uneven, LIGHT, by_load=by_load)[0]
        assert panel.figure is not None
        cells, marks = panel.figure.data[:2]
        assert np.isnan(cells.z).sum(1).tolist() == [4, 0, 2]
        drawn = set(zip(marks.y, marks.x, strict=True))
        assert len(drawn) == sum(SIZES)  # nothing else can be clicked
        assert (0, 4) not in drawn
        for trace in panel.figure.data[2:]:  # hatched, dotted, crossed
            rows = trace.base + 0.5 if trace.type == "bar" else trace.y
            assert set(zip(rows, trace.x, strict=True)) <= drawn


def test_tables_have_the_experts_there_are(uneven: Trace) -> None:
    assert evidence.expert_loads(uneven).groupby("layer_id").size().tolist() == list(SIZES)
    assert evidence.lifts(uneven).groupby("layer_id").size().tolist() == [3 * n for n in SIZES]
    assert evidence.absence(uneven).num_experts() == sum(SIZES)
    metrics = evidence.metrics(uneven)
    shares = metrics[metrics.metric == "busiest_share"]
    assert shares.null.tolist() == pytest.approx([3 / 4, 3 / 8, 3 / 6])
    assert shares.n_tokens.tolist() == [36 * 24, 36 * 24, 36 * 18]


def test_a_balanced_trace_has_no_violation_anywhere(uneven: Trace, folder: Path) -> None:
    balanced = open_trace(workspace.trace_file(folder / "balanced.duckdb"))
    metrics = evidence.metrics(balanced).set_index("metric")
    assert metrics.estimate["max_violation"].tolist() == [0, 0, 0]
    assert metrics.estimate["normalized_entropy"].tolist() == pytest.approx([1, 1, 1])
    assert metrics.estimate["dead_experts"].tolist() == [0, 0, 0]
    assert evidence.absence(balanced).count() == 0


def test_exports_name_layers_and_leave_out_what_is_no_expert(uneven: Trace) -> None:
    tables = {
        name: pd.read_csv(io.StringIO(csv_text(table())))
        for name, (_, table) in export.tables(uneven).items()
        if name in ("layers", "expert_choices", "coactivation", "transitions", "expert_transitions")
    }
    assert tables["layers"].num_experts.tolist() == list(SIZES)
    assert len(tables["expert_choices"]) == sum(SIZES)
    assert tables["coactivation"].groupby("layer_id").size().tolist() == [6, 28, 15]
    assert tables["transitions"].groupby("layer_id").size().tolist() == [4 * 8, 8 * 6]
    assert tables["expert_transitions"].groupby("layer_id").size().tolist() == [4 * 8, 8 * 6]


def test_a_map_has_no_expert_that_its_layer_does_not_have(uneven: Trace) -> None:
    rows = {"layer_id": [0, 1], "expert_id": [3, 7], "tokens": [1, 1], "domain": ["math", "math"]}
    frame = pd.DataFrame(rows | {"x": [0.0, 1.0], "y": [0.0, 1.0], "cluster": [0, 0]})
    assert sidecars.EXPERTS.problem(sidecars.EXPERTS.table(frame, uneven.info), uneven.info) == ""
    frame.loc[0, "expert_id"] = 4
    problem = sidecars.EXPERTS.problem(sidecars.EXPERTS.table(frame, uneven.info), uneven.info)
    assert problem == "its rows do not belong together"


def test_an_expert_that_its_layer_does_not_have_cannot_be_left_out(uneven: Trace) -> None:
    assert parse_experts("0:3,1:7", uneven.info) == [(0, 3), (1, 7)]
    with pytest.raises(ValueError, match="no expert 0:4: those of layer 0 are 0 to 3"):
        parse_experts("0:4", uneven.info)


@pytest.mark.slow
def test_the_facts_say_what_differs(uneven: Trace) -> None:
    text = texts(shown("overview"))
    assert "3 MoE layers with 4 to 8 experts" in text
    assert "0 to 2 chosen per token" in text
    assert "encoder 0: Scoring: sigmoid · Mixing weights: scores · Selection by: scores" in text
    assert "decoder 0, decoder 1: Scoring: softmax · Mixing weights: scores" in text


@pytest.mark.slow
def test_layers_of_different_kinds_have_names_in_texts_and_figures(uneven: Trace) -> None:
    assert facts(uneven)[0].startswith("encoder 0: Scoring: sigmoid")
    app = shown("vocabulary", layer="decoder 1")
    assert "In decoder 1, the most frequent first expert" in texts(app)
    figure = load_balance.panels(uneven, LIGHT)[0].figure
    assert figure is not None
    assert list(figure.layout.yaxis.ticktext) == list(NAMES)
    assert figure.data[1].text[0].startswith("encoder 0 (layer 0, encoder.layers.0.ffn), expert 0")
    by_layer = load_balance.panels(uneven, LIGHT)[1].figure
    assert by_layer is not None
    assert list(by_layer.layout.xaxis.ticktext) == list(NAMES)
    app = shown("load_balance", k_layer="decoder 1")
    assert "In decoder 1, a token runs 1.5 experts on average, between 0 and 2" in texts(app)


def test_layers_that_are_alike_are_one_line(tiny_trace: Path) -> None:
    tiny = open_trace(workspace.trace_file(tiny_trace))
    assert facts(tiny) == ["Scoring: softmax · Mixing weights: scores · Selection by: scores"]


def test_a_start_token_without_a_loss_is_shown_by_its_name(uneven: Trace) -> None:
    routing = prompts.text_routing(uneven, 0)
    assert prompts.token_texts(routing)[0] == "<s>"
    assert routing.loss[routing.position == 0].isna().all()
    assert prompts.of_layer(routing, 2).expert_id[:6].nunique() == 1  # none


@pytest.mark.slow
@pytest.mark.parametrize("by", colour_by.CHOICES)
def test_a_text_is_coloured_in_every_layer(by: str, uneven: Trace) -> None:
    for layer_id, name in enumerate(NAMES):
        strip, every_layer, path = prompts.panels(
            uneven, LIGHT, doc_id=0, layer_id=layer_id, token=1, by=by
        )
        assert f" in {name}" in f" {strip.answer[0].lower()}{strip.answer[1:]}"
        assert every_layer.figure is not None
        assert list(every_layer.figure.layout.yaxis.ticktext) == list(NAMES)
        assert path.figure is not None
        assert set(path.figure.layout.yaxis.ticktext) <= set(NAMES)
        known = np.log(SIZES[layer_id])
        if by == meanings.ENTROPY and strip.table.entropy.notna().any():
            assert strip.table["value"].max() <= known + 0.001
            assert f"{known:.2f}" in strip.note


def test_a_place_that_is_no_expert_prefers_no_domain(uneven: Trace) -> None:
    labels = colour_by._labels(uneven)
    assert labels is not None
    assert (labels[0, 4:] == len(uneven.domains) + 1).all()
