import json
from pathlib import Path

import pytest

from data.training_log import Line, domains_table, layers_table, read_log, steps_table
from tests.trainings import log_line, staged_line, write_log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write_log(tmp_path, [log_line(20), log_line(40)])
    return tmp_path / "train_log.jsonl"


def lines_of(folder: Path, *records: dict[str, object]) -> list[Line]:
    write_log(folder, records)
    return read_log(folder / "train_log.jsonl")


@pytest.mark.parametrize("half", ['{"step": 60, "tok', '{"step": 60}{\n', "\x00\x00"])
def test_a_last_line_that_is_half_written_is_left_out(log: Path, half: str) -> None:
    with log.open("a") as file:
        file.write(half)
    assert [line.step for line in read_log(log)] == [20, 40]


def test_a_whole_last_line_needs_no_end(log: Path) -> None:
    with log.open("a") as file:
        file.write(json.dumps(log_line(60)))
    assert [line.step for line in read_log(log)] == [20, 40, 60]


def test_an_empty_log_has_no_lines(log: Path) -> None:
    log.write_text("")
    assert read_log(log) == []
    assert list(steps_table([])) == ["step", "tokens", "loss"]
    assert layers_table([]).empty


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ('{"step": 4', "line 2 is not JSON"),
        ("[1, 2]", "line 2 is no object"),
        ('{"step": 40, "tokens": 1, "max_violation": []}', "line 2 has no loss"),
        (json.dumps(log_line(40, loss="low")), "line 2 has loss 'low'"),
        (json.dumps(log_line(20)), "line 2 goes back from step 20 to 20"),
        (json.dumps(log_line(40, max_violation=[1.0])), "line 2 has 1 layers, not 2"),
        (json.dumps(log_line(40, chosen=[1.0])), "line 2 has 1 numbers of chosen experts for 2"),
    ],
)
def test_a_broken_line_in_the_middle_is_named(log: Path, second: str, said: str) -> None:
    first, last = json.dumps(log_line(20)), json.dumps(log_line(60))
    log.write_text(f"{first}\n{second}\n{last}\n")
    with pytest.raises(ValueError, match=said) as raised:
        read_log(log)
    assert "train again" in str(raised.value)


def test_old_logs_have_no_chosen_experts_and_no_domains(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, log_line(20), log_line(40))
    table = layers_table(lines)
    assert table.step.tolist() == [20, 20, 40, 40]
    assert table.layer_id.tolist() == [0, 1, 0, 1]
    assert table.max_violation.tolist() == [1.0, 0.5, 1.0, 0.5]
    assert table.chosen.isna().all()
    assert domains_table(lines, "domain_share").empty
    assert list(steps_table(lines)) == ["step", "tokens", "loss"]


def test_new_logs_have_stage_chosen_experts_and_domains(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, log_line(10), staged_line(20), staged_line(60))
    assert steps_table(lines).stage.tolist()[1:] == ["incubation", "specialization"]
    assert layers_table(lines).chosen.tolist()[2:] == [3.0, 2.0, 2.0, 1.0]
    share = domains_table(lines, "domain_share")
    assert share.step.tolist() == [20, 20, 60, 60]
    assert share.value.tolist() == [0.5, 0.5, 0.75, 0.25]
    assert domains_table(lines, "domain_loss").value.isna().tolist() == [False, True] * 2


def test_a_dense_model_has_no_layers(tmp_path: Path) -> None:
    assert layers_table(lines_of(tmp_path, log_line(20, max_violation=[]))).empty
