"""The page Redundancy: the shipped model, one never compared, a pruned one, none."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import workspace
from app.jobs.queue import all_jobs
from app.studies import redundancy
from app.studies.compression import result
from app.studies.reader import CHECKPOINT
from app.studies.redundancy import Redundancy
from app.views.redundancy import panels
from app.views.redundancy.figures import cost_lines, left_lines, similarity_map
from app.views.shared.theme import DARK, LIGHT, Palette
from data.report import csv_text

PAGE = str(Path(__file__).parents[3] / "app" / "views" / "redundancy" / "page.py")


def known() -> Redundancy:
    """One layer of three experts: 0 and 1 alike by outputs, 2 silent."""
    similarity_LEE = np.array([[[1, 0.9, np.nan], [0.9, 1, np.nan], [np.nan, np.nan, np.nan]]])
    none_L = np.zeros(1)
    return Redundancy(
        model_sha256="",
        outputs=similarity_LEE,
        weights=similarity_LEE / 10,
        aligned=similarity_LEE / 10,
        routing=similarity_LEE / 10,
        null_outputs=none_L + 0.1,
        null_weights=none_L,
        null_aligned=none_L,
        null_routing=none_L,
        tokens_LE=np.array([[5, 9, 0]]),
        saliency_LE=np.array([[0.1, 0.2, 0.0]]),
        num_tokens=14,
        top_k=1,
        parameters=1_000_000,
        expert_parameters=100_000,
    )


def page() -> AppTest:
    return AppTest.from_file(PAGE, default_timeout=120).run()


def texts(app: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in app.get("html"))


def answer(similar: Redundancy, by: str) -> str:
    return panels.similarity(similar, LIGHT, by=by, layer_id=0, threshold=0.85).answer


def test_the_answer_says_what_goes_and_what_unrelated_experts_give() -> None:
    text = answer(known(), "outputs")
    assert "1 of 3 experts would run another's weights, which saves 10.0% of" in text
    assert "the most similar pair is at 0.900 (layer 0), unrelated experts are at 0.100" in text
    text = answer(known(), "weights")
    assert "no two experts reach 0.85, so none would be removed" in text
    many = replace(known(), top_k=3)
    assert "That is too many: layer 0 would keep 2 experts, but a token chooses 3" in (
        answer(many, "outputs")
    )


def test_pairs_leave_with_empty_cells_for_what_is_unknown() -> None:
    frame = panels.pair_table(known(), "outputs", 0, np.array([1, 1, 2]))
    assert frame.expert_b.tolist() == [1, 2, 2]
    assert frame.leader.tolist() == [1, pd.NA, pd.NA]
    lines = csv_text(frame).splitlines()
    assert lines[1] == "0,0,1,0.9,1,0.1"
    assert lines[2] == '0,0,2,"","",0.1'


def test_the_line_of_a_threshold_ends_where_too_few_are_left() -> None:
    panels.left_table.clear()
    table = panels.left_table("a", replace(known(), top_k=3))
    outputs = table[table.by == "outputs"].set_index("threshold").experts
    assert outputs[0.95] == 3
    assert pd.isna(outputs[0.9])  # 2 of the 3 that a token chooses


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_the_map_dots_what_would_share_weights_and_leaves_its_diagonal_empty(
    palette: Palette,
) -> None:
    leader_E = np.array([1, 1, 2])
    figure = similarity_map(known().outputs[0], palette, leader_E=leader_E, null=0.1, threshold=0.6)
    heatmap, dots, tree = figure.data
    assert np.isnan(np.diag(heatmap.z)).all()
    assert len(dots.x) == 2  # both halves of one pair
    assert tree.xaxis == "x2"
    assert figure.layout.coloraxis.cmin == pytest.approx(-0.4)  # as far as the threshold
    assert figure.layout.coloraxis.cmax == pytest.approx(0.6)
    assert any("both would run the weights of 1" in str(text) for text in np.ravel(heatmap.text))


def test_cost_and_threshold_figures_have_a_line_a_rule() -> None:
    table = pd.DataFrame(
        {
            "by": ["outputs", "saliency"],
            "how": ["merge", "drop"],
            "threshold": [0.1, None],
            "share": [None, 0.5],
            "experts": [6, 4],
            "change": [0.1, 0.2],
            "low": [0.05, None],
            "high": [0.15, None],
            "n": [9, 9],
            "changed_choices": [0.1, 0.2],
        }
    )
    figure = cost_lines(table, LIGHT, most=8)
    assert [trace.name for trace in figure.data] == ["outputs, merge", "saliency, drop"]
    assert [list(trace.x) for trace in figure.data] == [[0.25], [0.5]]
    panels.left_table.clear()
    figure = left_lines(panels.left_table("b", known()), LIGHT, threshold=0.5)
    assert [trace.name for trace in figure.data] == ["outputs", "weights", "aligned", "routing"]


def test_the_shipped_similarities_are_of_the_shipped_model() -> None:
    found = redundancy.stored(CHECKPOINT)
    assert found is not None
    assert found.outputs.shape == (7, 64, 64)
    assert found.expert_parameters == 3 * 256 * 48
    table = pd.read_csv(CHECKPOINT / result.FILE)
    nothing = table[(table.threshold == 0.85) & (table.domain == "all")]
    assert set(nothing.experts) == {448}  # as the page says: none reaches it
    assert (nothing.change == 0).all()


@pytest.mark.slow
def test_the_page_shows_the_shipped_model() -> None:
    app = page()
    assert not app.exception
    assert "no two experts reach 0.85" in texts(app)
    app.slider(key="threshold").set_value(0.01).run()
    assert not app.exception
    assert "of 448 experts would run" in texts(app)


@pytest.mark.slow
def test_a_model_never_compared_is_compared_once(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workspace, "checkpoint", lambda: folder)
    app = page()
    assert not app.exception
    [job] = [job for job in all_jobs().all() if str(folder) in job.key]
    assert job.ended.wait(300)
    assert job.state == "done", job.error
    app = app.run()
    assert not app.exception
    assert app.metric


@pytest.mark.slow
def test_a_pruned_model_and_a_workspace_without_one_say_so(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = json.loads((folder / "config.json").read_text())
    layers = config["num_layers"] - config["first_dense_layers"]
    config["expert_leaders"] = [[0, 0, *range(2, config["num_experts"])]] * layers
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(workspace, "checkpoint", lambda: folder)
    app = page()
    assert not app.exception
    assert "was pruned" in app.info[0].value
    monkeypatch.setattr(workspace, "checkpoint", lambda: tmp_path / "none")
    app = page()
    assert not app.exception
    assert "no model here" in app.info[0].value


def test_rules_are_compared_that_take_the_same_share() -> None:
    rows = pd.DataFrame(
        [
            ("routing", None, 446, 0.01),
            ("outputs", 0.125, 392, 0.3),
            ("saliency", 0.125, 392, 0.05),
            ("saliency", 0.25, 336, 0.2),
        ],
        columns=["by", "share", "experts", "change"],
    ).assign(how="drop", before=1.0)
    assert panels.cost_answer(rows, most=448) == (
        "With 392 of 448 experts left, the cheapest rule is saliency, drop: +0.050 bits per byte "
        "on top of 1.000; the most expensive is outputs, drop: +0.300."
    )
    alone = panels.cost_answer(rows[:1], most=448)
    assert alone.startswith("With 446 of 448 experts left, the cheapest rule is routing")
