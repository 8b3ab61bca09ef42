"""The page Training, run without a browser."""

import json
import os
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import workspace
from tests.app.pages import page, texts
from tests.trainings import log_line, staged_line, write_config, write_log, write_training


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of trainings of one's own; no model and none shipped."""
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(tmp_path / "traces"))
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(tmp_path / "model"))
    monkeypatch.setenv("ROUTESCOPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(workspace, "SHIPPED_TRAININGS", tmp_path / "stages")
    return tmp_path / "runs"


def follows(app: AppTest) -> bool:
    return any(toggle.label == "Follow" and toggle.value for toggle in app.toggle)


def titles(app: AppTest) -> list[str]:
    return [element.value.strip("*") for element in app.markdown if element.value.startswith("**")]


def test_the_shipped_training_is_shown_whole_and_not_polled(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROUTESCOPE_MODEL")
    app = page("training")
    assert not app.exception
    assert app.selectbox(key="training").value == "shipped"
    assert not app.toggle
    assert titles(app) == [
        *(
            "Experts by domain",
            "Router saturation",
            "Information about the domain",
            "Held-out text",
        ),
        "Loss",
        "Balance",
    ]
    assert "6.4% better" in texts(app)
    assert len(app.get("plotly_chart")) == 7  # and the one that plays
    assert len(app.get("download_button")) == 7


def test_a_training_of_stages_shows_all_that_was_logged(runs: Path) -> None:
    write_training(runs / "three")
    app = page("training")
    assert not app.exception
    assert titles(app)[4:] == [
        *(
            "Loss",
            "Loss by domain",
            "Balance",
            "Experts activated per token",
            "Domains drawn for training",
        )
    ]
    assert [metric.label for metric in app.metric] == [
        "Tokens read",
        "Final loss",
        "Worst MaxVio",
        "Experts with a domain",
        "Bits per byte",
    ]
    assert app.metric[3].value == "100%"


def test_a_running_training_is_followed(runs: Path) -> None:
    write_training(runs / "live", finished=False, last=40)
    app = page("training")
    assert not app.exception
    assert follows(app)
    assert "Running: step 40 of 80, stage specialization." in texts(app)
    with (runs / "live" / "train_log.jsonl").open("a") as log:
        log.write(json.dumps(staged_line(60)) + '\n{"step": 8')
    assert "Running: step 60 of 80" in texts(app.run())
    app.toggle[0].set_value(False).run()
    assert not app.exception
    assert "Running: step 60 of 80" in texts(app)


def test_a_training_that_ends_is_followed_no_longer(runs: Path) -> None:
    write_training(runs / "live", finished=False)
    app = page("training")
    write_training(runs / "live")
    app.run()
    assert not app.exception
    assert not app.toggle


def test_a_stopped_training_says_how_to_go_on(runs: Path) -> None:
    write_training(runs / "cut", finished=False, last=40)
    os.utime(runs / "cut" / "train_log.jsonl", (time.time() - 999,) * 2)
    app = page("training")
    assert "Stopped at step 40 of 80, stage specialization; run the same command" in texts(app)
    assert not app.toggle


def test_a_training_without_lines_or_snapshots_yet_says_so(runs: Path) -> None:
    write_config(runs / "new", steps=9)
    write_log(runs / "new", [])
    app = page("training")
    assert not app.exception
    assert [info.value.split(":")[0] for info in app.info] == [
        "The log has no line yet.",
        "There is no snapshot yet",
    ]


def test_snapshots_are_drawn_before_the_log_has_a_line(runs: Path) -> None:
    write_training(runs / "new", finished=False)
    write_log(runs / "new", [])
    app = page("training")
    assert not app.exception
    assert titles(app)[0] == "Experts by domain"


def test_trainings_are_laid_over_each_other_along_tokens(runs: Path) -> None:
    write_training(runs / "three")
    write_log(runs / "old", [log_line(20), log_line(40)])
    write_config(runs / "old", steps=40)
    app = page("training", training="runs/three", over="runs/old")
    assert not app.exception
    assert app.multiselect(key="over").value == ["runs/old"]
    assert titles(app)[:5] == [
        "Experts with a domain",
        "Router saturation, mean of layers",
        "Information about the domain, mean of layers",
        "Loss",
        "Balance, worst layer",
    ]
    assert "Experts by domain" in titles(app)  # of the first, below
    assert app.button_group[0].value == "tokens"
    app.selectbox(key="training").set_value("runs/old").run()
    assert not app.exception
    assert app.multiselect(key="over").value == []


def test_a_broken_log_is_named_and_others_stay_selectable(runs: Path) -> None:
    write_training(runs / "three")
    write_config(runs / "broken", steps=9)
    write_log(runs / "broken", [log_line(20), log_line(20)])
    app = page("training", training="runs/broken")
    assert not app.exception
    assert "cannot be shown" in app.error[0].value
    assert "line 2 goes back from step 20 to 20" in app.code[0].value
    app.selectbox(key="training").set_value("runs/three").run()
    assert not app.exception
    assert not app.error
    app.multiselect(key="over").set_value(["runs/broken"]).run()
    assert not app.exception
    assert app.error
    assert "Experts by domain" in titles(app)


def test_a_hostile_name_is_shown_literally(runs: Path) -> None:
    write_training(runs / "![a](b) <b>x")
    write_training(runs / "<img src=x>")
    app = page("training", training="runs/![a](b) <b>x", over="runs/<img src=x>")
    assert not app.exception
    assert "<img" not in texts(app)
    assert not [element for element in app.subheader if "![a](" in element.value]


def test_no_training_says_what_to_do(runs: Path) -> None:
    assert "routescope train" in page("training").info[0].value


def test_the_training_page_compares_with_the_dense_twin(
    traces: Path, model: Path, tiny_trace: Path
) -> None:
    app = page("training")
    assert not app.exception
    assert "20.0% better" in texts(app)  # 2.0 against 2.5 bits per byte
