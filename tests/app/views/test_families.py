"""Models of other families on the page Architectures, and their traces that are shipped."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from analysis import queries
from analysis.domain_counts import ALL_LAYERS
from app import evidence, workspace
from app.trace import Trace, open_trace
from app.views.comparison import families, family_panels, opening
from app.views.comparison.family_figures import ROWS
from app.views.shared.theme import LIGHT
from data.trace_format import FORMAT_VERSION, WITH_LAYERS
from tests.app.pages import page, texts

MODELS = tuple(families.TITLES)
NUMBERS = ["estimate", "low", "high", "null"]
OPEN = "Which domain does each expert prefer?"


@pytest.fixture(scope="module")
def shipped() -> families.Families:
    return families.load()


def trace_of(model: str) -> Trace:
    return open_trace(workspace.trace_file(families.trace_path(model)))


@pytest.mark.parametrize("model", MODELS)
def test_a_shipped_trace_is_small_and_says_its_layers(model: str) -> None:
    trace = trace_of(model)
    assert trace.path.stat().st_size <= 3_000_000
    assert WITH_LAYERS <= trace.info.format_version <= FORMAT_VERSION
    with trace.cursor() as con:
        assert [finding.kind for finding in queries.findings(con)] == ["rounded"]


def test_the_three_read_the_same_tokens_of_the_same_texts() -> None:
    read = set()
    for model in MODELS:
        with trace_of(model).cursor() as con:
            ids = con.execute("SELECT token_id FROM token ORDER BY doc_id, position").fetchall()
            read.add((queries.texts_sha256(con), tuple(ids)))
    assert len(read) == 1


def test_the_facts_are_those_of_the_traces(shipped: families.Families) -> None:
    assert tuple(shipped.models.model) == MODELS
    for row in shipped.models.itertuples():
        info = trace_of(str(row.model)).info
        layer = info.layers[0]
        assert (row.moe_layers, row.experts, row.top_k) == (7, layer.num_experts, layer.top_k)
        assert (row.scoring, row.weighting) == (layer.scoring, layer.weighting)
        assert (row.n_documents, row.n_tokens) == (info.num_documents, info.num_tokens)
    assert shipped.models.tokens_trained.min() >= 150e6


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [MODELS[0], *(pytest.param(one, marks=pytest.mark.exhaustive) for one in MODELS[1:])]
)
def test_the_figures_are_those_of_the_trace(model: str, shipped: families.Families) -> None:
    trace = trace_of(model)
    whole, _ = evidence.expert_counts(trace)
    stored = shipped.domains[shipped.domains.model == model]
    stored = stored[stored.layer_id == ALL_LAYERS].reset_index(drop=True)
    assert stored.domain.tolist() == whole.domain.tolist()
    for column in ("experts", "low", "high", "null"):
        expected = whole[column].astype(float).tolist()
        assert stored[column].tolist() == pytest.approx(expected, rel=1e-4, nan_ok=True)
    metrics = evidence.metrics(trace)
    measures = shipped.measures[shipped.measures.model == model]
    for name in ("information_share", "max_violation"):
        means = metrics[metrics.metric == name][NUMBERS].mean()
        row = measures[(measures.measure == name) & (measures.layer_id == ALL_LAYERS)]
        assert row[NUMBERS].iloc[0].tolist() == pytest.approx(means.tolist(), rel=1e-3)


def test_every_measure_of_every_model_stands_beside_chance(shipped: families.Families) -> None:
    means = shipped.measures[shipped.measures.layer_id == ALL_LAYERS]
    assert len(means) == len(MODELS) * means.measure.nunique()
    assert means[["estimate", "low", "high", "null"]].notna().all(axis=None)
    assert ((means.low <= means.estimate) & (means.estimate <= means.high)).all()


def test_trained_experts_are_proven_where_untrained_ones_are_not(
    shipped: families.Families,
) -> None:
    untrained = shipped.controls[shipped.controls.measure == "proven"].set_index("model").estimate
    trained = shipped.lifts.groupby("model").specialist.mean()
    assert (untrained[list(MODELS)] < 0.05).all()
    assert (trained[list(MODELS)] > 0.5).all()
    note = family_panels.specialization(shipped, LIGHT).note
    assert "training, experts proven to prefer a domain are 0% in DeepSeekMoE (ours)" in note


def test_a_cell_of_the_figure_for_every_model_and_measure(shipped: families.Families) -> None:
    figure = family_panels.specialization(shipped, LIGHT).figure
    assert figure is not None
    cells = {(trace.xaxis, trace.yaxis) for trace in figure.data}
    assert len(cells) == len(MODELS) * len(ROWS)
    words = " ".join(note.text for note in figure.layout.annotations)
    for part in (*families.TITLES.values(), *(row.title for row in ROWS), "shuffled", "balanced"):
        assert part in words


def test_models_are_called_different_only_where_intervals_are_apart(
    shipped: families.Families,
) -> None:
    means = shipped.measures[shipped.measures.layer_id == ALL_LAYERS].copy()
    olmoe = (means.model == "olmoe") & (means.measure == "preferring")
    means.loc[olmoe, ["estimate", "low", "high"]] = [0.3, 0.25, 0.35]
    answer = family_panels.answer(means)
    assert "OLMoE has fewer than ours" in answer
    means.loc[olmoe, ["estimate", "low", "high"]] = [0.9, 0.8, 0.95]
    assert "The intervals of Qwen3-MoE and OLMoE overlap" in family_panels.answer(means)


@pytest.mark.slow
def test_the_page_shows_the_models_and_opens_a_trace(traces: Path) -> None:
    app = page("comparison")
    assert not app.exception
    assert "so experts specialize in all three" in texts(app)
    facts = next(frame.value for frame in app.dataframe if "OLMoE" in frame.value)
    assert "bits per byte" in facts.iloc[:, 0].tolist()
    app.button(key="open_olmoe").click().run()
    assert not app.exception
    assert OPEN in texts(app)
    assert app.selectbox(key="trace").value == "olmoe"
    assert (traces / "olmoe.duckdb").read_bytes() == families.trace_path("olmoe").read_bytes()


def test_a_trace_is_copied_once_and_replaces_no_other(traces: Path) -> None:
    opening.copy(families.trace_path("olmoe"))
    opening.copy(families.trace_path("olmoe"))
    assert [path.name for path in traces.iterdir()] == ["olmoe.duckdb"]
    shutil.copy(families.trace_path("qwen3_moe"), traces / "olmoe.duckdb")
    other = (traces / "olmoe.duckdb").read_bytes()
    names = {opening.copy(families.trace_path("olmoe")) for _ in range(2)}
    assert names == {"olmoe-shipped-2"}
    assert (traces / "olmoe.duckdb").read_bytes() == other


def test_without_tables_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "FOLDER", tmp_path)
    families.load.clear()
    app = AppTest.from_function(_load).run()
    families.load.clear()
    assert "benchmarks.bench_specialization" in app.exception[0].message


def _load() -> None:
    from app.views.comparison import families

    families.load()


def test_a_training_that_ended_early_is_named(shipped: families.Families) -> None:
    models = shipped.models.assign(steps=10, planned_steps=20)
    note = family_panels.facts(families.Families(models, *[pd.DataFrame()] * 4)).note
    assert "OLMoE was stopped at step 10 of 20" in note
