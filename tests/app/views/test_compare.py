"""The page Compare: what is compared, and each of its looks."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from analysis.groups import NOT_ENOUGH
from app.studies.comparing import ended_in_words
from app.views.compare import expert_figures, figures
from app.views.compare import words as compare_words
from app.views.compare.expert_panels import _ordered
from app.views.shared import heatmap
from app.views.shared.intervals import DASH
from app.views.shared.theme import LIGHT
from tests.app.incomplete_traces import CASES
from tests.app.pages import page, texts, words
from tests.app.sparse_traces import counted
from tests.traces import write_choices

LOOKS = ("loads", "preferences", "layers", "loss and gate", "tokens", "every figure")


@pytest.fixture
def two(traces: Path) -> Path:
    """Two traces of twenty-four texts; in the second expert 1 of layer 0 does the work of 0 too."""
    rng = np.random.default_rng(0)
    ids_TLK = rng.random((240, 2, 8)).argsort(-1)[..., :1]
    changed_TLK = ids_TLK.copy()
    changed_TLK[:, 0][changed_TLK[:, 0] == 0] = 1
    for name, ids in (("before", ids_TLK), ("later", changed_TLK)):
        write_choices(traces / f"{name}.duckdb", ids, np.repeat(np.arange(24), 10), num_experts=8)
    return traces


@pytest.mark.parametrize("look", LOOKS)
def test_every_look_of_two_traces(two: Path, look: str) -> None:
    app = page("compare", trace="before", traces="later", look=look)
    assert not app.exception
    assert "Both have 24 groups of the same texts, compared pair by pair." in texts(app)
    assert "First: before. Second: later." in texts(app)


def test_a_trace_with_the_same_texts_is_compared_first(two: Path) -> None:
    """A newer one of the same shape has other texts."""
    ids_TLK = np.random.default_rng(3).random((60, 2, 8)).argsort(-1)[..., :1]
    write_choices(two / "newest.duckdb", ids_TLK, np.repeat(np.arange(100, 106), 10), num_experts=8)
    assert page("compare", trace="before").multiselect[0].value == ["later"]
    assert page("compare", trace="newest").multiselect[0].value == ["later"]  # the newest other one


def test_what_nothing_tests_is_no_0_of_0(traces: Path) -> None:
    ids_TLK = np.random.default_rng(3).random((60, 2, 8)).argsort(-1)[..., :1]
    for name in ("few", "more"):
        write_choices(traces / f"{name}.duckdb", ids_TLK, np.repeat([0, 1, 2], 20), num_experts=8)
    app = page("compare", trace="few", traces="more")
    (changed,) = [metric for metric in app.metric if metric.label == "Loads that changed"]
    assert (changed.value, changed.delta) == (DASH, "too few independent texts")


def test_a_changed_load_is_said(two: Path) -> None:
    app = page("compare", trace="before", traces="later")
    assert "2 of 16 experts have a different load" in texts(app)
    (changed,) = [metric for metric in app.metric if metric.label == "Loads that changed"]
    assert (changed.value, changed.delta) == ("2", "of 16, q < 0.05")


def test_an_expert_that_only_one_of_two_chooses_is_named_first(two: Path) -> None:
    gone = page("compare", trace="before", traces="later")
    assert "1 expert of the first is never chosen in the second. 2 of 16" in texts(gone)
    assert "of those chosen in both, the largest change is that of expert 1 in layer 0" in texts(
        gone
    )
    table = gone.dataframe[0].value
    assert (table.layer_id[0], table.expert_id[0], table["second (%)"][0]) == (0, 0, 0)
    assert "never chosen in the second" in words(gone)
    came = page("compare", trace="later", traces="before")
    assert "1 expert of the second is never chosen in the first" in texts(came)
    preferences = page("compare", trace="before", traces="later", look="preferences")
    assert "1 expert is chosen in only one of the two and has no preference" in texts(preferences)


def test_the_largest_change_is_of_most_choices_and_not_the_largest_ratio() -> None:
    loads = rows(
        layer_id=[0] * 5,
        expert_id=[0, 1, 2, 3, 4],
        first=[0.00006, 0.3, 0.2, 0.01, 0.0],
        second=[0.007, 0.36, 0.21, 0.0, 0.04],
        estimate=[6.9, 0.26, 0.07, np.nan, np.nan],
        q=[0.001, 0.001, 0.9, 0.01, 0.01],
    )
    assert _ordered(loads).expert_id.tolist() == [4, 3, 1, 0]


def test_a_trace_of_the_link_that_is_not_here_is_named(two: Path) -> None:
    app = page("compare", trace="before", traces="no_where")
    assert [info.value.replace("\\", "") for info in app.info] == [
        "The link asks for traces=no_where, which is not here and is left out."
    ]


def test_only_the_chosen_second_is_subtracted(two: Path) -> None:
    CASES["one_expert"][0](two / "other.duckdb")
    three: Any = ["later", "other"]
    app = page("compare", trace="before", traces=three, look="every figure", other="later")
    assert not app.exception
    assert "later less before" in texts(app)
    assert "other less before" not in texts(app)
    assert "Layers have different numbers of experts (before has 8, later has 8, other" in texts(
        app
    )


def test_the_corresponding_layer_of_another_model_is_shown_and_named(two: Path) -> None:
    ids_TLK = np.random.default_rng(0).random((240, 4, 8)).argsort(-1)[..., :1]
    write_choices(two / "deep.duckdb", ids_TLK, np.repeat(np.arange(24), 10), num_experts=8)
    query = {"look": "every figure", "page": "Specialization", "layer": "1"}
    app = page("compare", trace="deep", traces="before", **query)
    assert not app.exception
    assert {"**deep, layer 1**", "**before, layer 0**"} <= {
        of.value.replace("\\", "") for of in app.markdown
    }


def test_names_of_files_are_no_markdown(two: Path) -> None:
    for name in ("$x$ `b` _it_", "$y$ *c*"):
        shutil.copy(two / "later.duckdb", two / f"{name}.duckdb")
    three: Any = ["$x$ `b` _it_", "$y$ *c*"]
    app = page("compare", trace="before", traces=three, look="every figure")
    assert not app.exception
    assert app.selectbox(key="other").options == three
    labels = [button.proto.label for button in app.get("download_button")]
    assert labels
    assert not any("$" in label for label in labels)
    assert r"**\$x\$ \`b\` \_it\_**" in [of.value for of in app.markdown]


def test_parts_have_no_token_in_common_and_no_idle_control(two: Path) -> None:
    app = page("compare", trace="before", look="tokens", **{"with": "halves"})
    assert [info.value for info in app.info] == ["The parts of a trace have no token in common."]
    assert "layer" not in app.session_state


@pytest.mark.parametrize("kind", ["domains", "halves"])
@pytest.mark.parametrize("look", ["loads", "every figure"])
def test_parts_of_one_trace(two: Path, kind: str, look: str) -> None:
    app = page("compare", trace="before", look=look, **{"with": kind})
    assert not app.exception
    assert "two independent samples" in texts(app)


def test_one_trace_of_one_text_has_nothing_to_compare(traces: Path) -> None:
    CASES["one_document"][0](traces / "one.duckdb")
    app = page("compare")
    assert not app.exception
    assert "nothing to compare it with" in app.info[0].value


@pytest.mark.slow
@pytest.mark.parametrize(
    "page_name",
    [
        "Overview",
        "Specialization",
        "Co-activation",
        "Vocabulary",
        "Placement",
        "Cache",
        "Expert lists",
    ],
)
def test_the_figures_of_other_pages_stand_side_by_side(two: Path, page_name: str) -> None:
    app = page("compare", trace="before", traces="later", look="every figure", page=page_name)
    assert not app.exception
    assert words(app).count("**before**") == words(app).count("**later**") > 0


def test_a_note_of_one_side_does_not_stand_for_the_other(two: Path) -> None:
    """The second trace has a quarter of the texts."""
    ids_TLK = np.random.default_rng(3).random((60, 2, 8)).argsort(-1)[..., :1]
    write_choices(two / "small.duckdb", ids_TLK, np.repeat(np.arange(6), 10), num_experts=8)
    said = texts(page("compare", trace="before", traces="small", look="every figure"))
    assert "240 choices per layer" in said
    assert "60 choices per layer" in said


def test_models_of_other_shapes_say_what_is_not_compared(traces: Path, two: Path) -> None:
    CASES["one_expert"][0](traces / "other.duckdb")
    app = page("compare", trace="before", traces="other")
    assert not app.exception
    assert "8 experts in layer 0 against 1" in texts(app)


def test_all_experts_that_only_one_chooses_are_counted() -> None:
    """Whether or not that is significant."""
    loads = rows(first=[0.5, 0.1, 0.0, 0.0], second=[0.0, 0.0, 0.2, 0.0], q=[0.01, 0.3, 0.2, 1.0])
    assert ended_in_words(loads) == (
        "2 experts of the first are never chosen in the second and 1 expert of the second is never "
        "chosen in the first"
    )


def rows(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_the_heatmap_marks_what_is_sure_and_what_cannot_be_said() -> None:
    loads = rows(
        layer_id=[0, 0, 0],
        expert_id=[0, 1, 2],
        first=[0.5, 0.25, 0.25],
        second=[0.25, 0.5, 0.25],
        estimate=[-1.0, 1.0, 0.0],
        low=[-1.2, 0.8, np.nan],
        high=[-0.8, 1.2, np.nan],
        p=[0.001, 0.001, np.nan],
        q=[0.01, 0.2, np.nan],
        note=["", "", NOT_ENOUGH],
    )
    figure = expert_figures.load_difference_heatmap(loads, LIGHT, shape_LE=(1, 3))
    cells, text, hatched, dots = figure.data
    np.testing.assert_array_equal(cells.z, [[-1, 1, np.nan]])
    assert hatched.x.tolist() == [2]
    assert dots.x.tolist() == [0]
    assert text.text[0].startswith("layer 0, expert 0<br><b>0.50×</b>")
    assert "50.0% of the choices in the first, 25.0% in the second" in text.text[0]
    only_sure = expert_figures.load_difference_heatmap(
        loads, LIGHT, shape_LE=(1, 3), only_sure=True
    )
    np.testing.assert_array_equal(only_sure.data[0].z, [[-1, np.nan, np.nan]])


def test_figures_of_one_kind_are_on_one_scale() -> None:
    pair = [go.Figure(go.Scatter(x=[0, 1], y=[low, high])) for low, high in ((0, 1), (2, 4))]
    figures.on_one_scale(pair)
    assert [figure.layout.yaxis.range for figure in pair] == [(-0.2, 4.2)] * 2
    heat = [go.Figure(go.Heatmap(z=[[1]], coloraxis="coloraxis")) for _ in range(2)]
    for figure, high in zip(heat, (3, 7), strict=True):
        figure.update_layout(coloraxis={"cmin": 0, "cmax": high})
    figures.on_one_scale(heat)
    assert [figure.layout.coloraxis.cmax for figure in heat] == [7, 7]


def test_dots_of_many_columns_are_small_where_two_stand_side_by_side() -> None:
    for columns, size in ((64, 2), (8, 5)):
        figure = go.Figure(go.Heatmap(z=np.zeros((2, columns))))
        heatmap.dot_cells(figure, np.ones((2, columns), bool), LIGHT)
        figures.beside_another(figure)
        assert figure.data[1].marker.size == size


def test_an_axis_that_a_figure_has_set_or_that_has_names_stays() -> None:
    named = [go.Figure(go.Bar(x=["a", "b"], y=[1, high])) for high in (2, 3)]
    named[0].update_yaxes(range=[0, 9])
    figures.on_one_scale(named)
    assert named[0].layout.yaxis.range == (0, 9)
    assert all(figure.layout.xaxis.range is None for figure in named)


def test_a_figure_of_half_the_width_has_as_many_labels_as_fit() -> None:
    many = go.Figure().update_xaxes(
        tickvals=list(range(64)), ticktext=[str(expert) for expert in range(64)]
    )
    figures.beside_another(many)
    assert many.layout.xaxis.tickvals == tuple(range(0, 64, 4))
    assert many.layout.xaxis.ticktext[-1] == "60"
    zoomed = go.Figure().update_xaxes(nticks=40)
    figures.beside_another(zoomed)
    assert zoomed.layout.xaxis.nticks == 16


def test_traces_of_counts_of_different_models_say_what_they_lack(traces: Path) -> None:
    counted(traces / "counts.duckdb", top_k=2)
    CASES["one_expert"][0](traces / "other.duckdb")
    app = page("compare", trace="counts", traces="other")
    assert not app.exception
    assert "4 experts in layer 0 against 1" in texts(app)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (123.004, "123×"),
        (2099.77, "2,100×"),
        (54.16, "54.2×"),
        (1.204, "1.20×"),
        (0.0123, "0.0123×"),
        (0.0004, "< 0.001×"),
        (0, "0.00×"),
    ],
)
def test_a_ratio_has_three_digits(ratio: float, said: str) -> None:
    assert compare_words.times(ratio) == said


def test_cells_of_experts_never_chosen_have_a_colour_each_with_a_legend() -> None:
    loads = rows(
        layer_id=[0] * 4,
        expert_id=[0, 1, 2, 3],
        first=[0.5, 0.5, 0.0, 0.0],
        second=[0.5, 0.0, 0.5, 0.0],
        estimate=[0.0, np.nan, np.nan, np.nan],
        low=[np.nan] * 4,
        high=[np.nan] * 4,
        p=[1.0, 0.01, 0.01, np.nan],
        q=[1.0, 0.01, 0.6, np.nan],
        note=["", "never chosen in the second", "never chosen in the first", "never chosen"],
    )
    figure = expert_figures.load_difference_heatmap(loads, LIGHT, shape_LE=(1, 4))
    named = [trace.name for trace in figure.data if trace.name]
    assert named == [expert_figures.GONE, expert_figures.CAME, expert_figures.NEVER]
    filled = [trace.z for trace in figure.data if trace.type == "heatmap"][1:]
    assert [np.flatnonzero(np.asarray(z) == 1).tolist() for z in filled] == [[1], [2], [3]]
    sure = expert_figures.load_difference_heatmap(loads, LIGHT, shape_LE=(1, 4), only_sure=True)
    assert [trace.name for trace in sure.data if trace.name] == [expert_figures.GONE]
