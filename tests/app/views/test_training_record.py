from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from app.views.shared.theme import LIGHT
from app.views.training import overlay, summary, tables
from app.views.training import panels as training_panels
from app.views.training.record import read
from app.workspace import SHIPPED_MODEL, Training
from data.training_folder import TrainingFolder
from tests.trainings import log_line, write_config, write_log, write_training


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_training(tmp_path / "three")
    return tmp_path / "three"


def test_a_training_of_stages_ends_with_the_last_one(folder: Path) -> None:
    record = read(Training("three", TrainingFolder(folder), "finished"))
    assert record.num_steps == 80
    assert record.stage_at(20) == "incubation"
    assert record.stage_at(21) == "specialization"
    assert record.stages[-1] == ("joint optimization", 80)


def test_without_stages_the_schedule_has_the_steps(tmp_path: Path) -> None:
    write_log(tmp_path, [log_line(20)])
    write_config(tmp_path, steps=100)
    record = read(Training("plain", TrainingFolder(tmp_path), "stopped"))
    assert (record.num_steps, record.stage_at(20)) == (100, "")
    assert record.snapshots is None
    assert tables.saturation(record).empty
    assert tables.experts(record).empty
    assert tables.with_a_domain(record).empty
    assert "Stopped at step 20 of 100;" in summary.answer(record)


def test_a_training_that_logged_nothing_is_refused_unless_it_runs(tmp_path: Path) -> None:
    write_config(tmp_path, steps=100)
    (tmp_path / "train_log.jsonl").write_text('{"st')
    assert read(Training("new", TrainingFolder(tmp_path), "running")).log.empty
    with pytest.raises(ValueError, match="no step was ever logged"):
        read(Training("new", TrainingFolder(tmp_path), "stopped"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("train_config.json", "{", "is not JSON"),
        ("train_config.json", "[]", "is not a JSON object"),
        ("train_config.json", '{"stage_ends": [["a"]]}', "has no valid number of steps"),
        ("evaluation.json", "{", "is not JSON"),
        ("snapshots.safetensors", "{", "is not a safetensors file"),
    ],
)
def test_a_damaged_file_is_named(folder: Path, name: str, text: str, said: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=said) as raised:
        read(Training("three", TrainingFolder(folder), "finished"))
    assert name in str(raised.value)


def test_a_changed_log_is_read_again(folder: Path) -> None:
    training = Training("three", TrainingFolder(folder), "finished")
    assert read(training).log.step.iloc[-1] == 80
    write_log(folder, [log_line(20), log_line(100)])
    assert read(training).log.step.iloc[-1] == 100


def test_tokens_of_a_step_lie_between_the_lines_and_beyond_them(folder: Path) -> None:
    record = read(Training("three", TrainingFolder(folder), "finished"))
    steps = pd.Series([10, 30, 160])
    assert record.tokens_at(steps).tolist() == [10_000, 30_000, 160_000]
    empty = replace(record, log=record.log.iloc[:0])
    assert empty.tokens_at(steps).isna().all()


def test_experts_of_the_sample_take_to_domains(folder: Path) -> None:
    record = read(Training("three", TrainingFolder(folder), "finished"))
    table = tables.experts(record).set_index(["step", "domain"]).experts
    labels = ["math", "code", "too little data", "none"]
    assert table[1][labels].tolist() == [0, 0, 0, 8]  # two layers of four experts
    assert table[80].tolist() == [4, 4, 0, 0]
    share = tables.with_a_domain(record)
    assert share.share.tolist() == [0.0, 1.0]
    assert share.null[0] == 0.0
    assert record.snapshots is not None
    last = tables.last_share(record.snapshots_identity, _snapshots=record.snapshots)
    assert last.share == 1.0
    assert last.null == pytest.approx(share.null[1])
    assert tables.too_small(record.snapshots) == 0.0


def test_the_null_of_saturation_follows_the_number_chosen(folder: Path) -> None:
    table = tables.saturation(read(Training("three", TrainingFolder(folder), "finished")))
    assert table.null.tolist() == [0.75, 0.75, 0.5, 0.5]  # three of four, then two
    assert table.saturation.tolist() == [0.75, 0.75, 1.0, 1.0]  # all of math's, half of code's


def test_frames_show_what_an_expert_prefers(folder: Path) -> None:
    found = read(Training("three", TrainingFolder(folder), "finished")).snapshots
    assert found
    first, last = tables.frames(found, 1)
    assert first.lift_EG.tolist() == [[1.0, 1.0]] * 4
    assert first.domain_E.tolist() == [-1] * 4
    assert last.lift_EG.tolist() == [[2.0, 0.0]] * 2 + [[0.0, 2.0]] * 2
    table = tables.frames_table([first, last], found.domains)
    assert table[(table.step == 80) & (table.domain == "math")].prefers.tolist() == [
        "math",
        "math",
        "code",
        "code",
    ]


def test_stages_are_drawn_as_far_as_they_have_begun(tmp_path: Path) -> None:
    write_training(tmp_path, finished=False, last=40)
    record = read(Training("run", TrainingFolder(tmp_path), "running"))
    assert training_panels.axis(record, "step").stages == (
        ("incubation", 0, 20),
        ("specialization", 20, 40),
    )
    assert training_panels.axis(record, "tokens").stages[1][1:] == (20_000, 40_000)
    assert "Running: step 40 of 80, stage specialization." in summary.answer(record)


def test_the_shipped_training_says_when_its_routers_settled() -> None:
    record = read(Training("shipped", TrainingFolder(SHIPPED_MODEL), "finished"))
    answer = summary.answer(record)
    assert "6.4% better than a dense model" in answer
    assert "By step 785 of 22,000, 59% of the final choices" in answer


def test_laid_over_each_figure_has_a_line_a_training_that_has_it(
    folder: Path, tmp_path: Path
) -> None:
    write_log(tmp_path / "old", [log_line(20), log_line(40)])
    write_config(tmp_path / "old", steps=40)
    records = [
        read(Training("three", TrainingFolder(folder), "finished")),
        read(Training("old", TrainingFolder(tmp_path / "old"), "stopped")),
    ]
    panels = overlay.panels(records, LIGHT, by="tokens")
    figures = {panel.title: panel.figure for panel in panels if panel.figure is not None}
    frames = {panel.title: panel.table for panel in panels}
    names = [line.hovertemplate.split(",")[0] for line in figures["Loss"].data]
    assert names == ["three", "old"]
    assert frames["Loss"].training.unique().tolist() == ["three", "old"]
    assert len(figures["Experts with a domain"].data) == 2  # one, and its chance
    assert frames["Balance, worst layer"].max_violation.tolist() == [1.0] * 6
    chosen = frames["Experts activated per token, mean of layers"].chosen
    assert chosen.tolist() == [2.5, 2.5, 1.5, 1.5]
