import os
import time
from pathlib import Path

import pytest

from data.training_folder import TrainingFolder, file_identity
from tests.trainings import write_log, write_training


@pytest.mark.parametrize(("age", "state"), [(110, "running"), (130, "stopped")])
def test_a_training_whose_log_is_silent_for_two_minutes_has_stopped(
    tmp_path: Path, age: int, state: str
) -> None:
    write_training(tmp_path, finished=False)
    training = TrainingFolder(tmp_path)
    os.utime(training.log, (time.time() - age, time.time() - age))
    assert training.state == state


def test_a_training_with_its_model_is_finished_however_long_ago(tmp_path: Path) -> None:
    write_training(tmp_path)
    training = TrainingFolder(tmp_path)
    os.utime(training.log, (0, 0))
    assert training.state == "finished"


@pytest.mark.parametrize(
    "name", ["train_config.json", "train_log.jsonl", "snapshots.safetensors", "evaluation.json"]
)
def test_a_file_that_grows_or_goes_is_another_identity(tmp_path: Path, name: str) -> None:
    write_training(tmp_path)
    training = TrainingFolder(tmp_path)
    before = training.identity
    with (tmp_path / name).open("ab") as file:
        file.write(b"\n")
    grown = training.identity
    (tmp_path / name).unlink()
    assert len({before, grown, training.identity}) == 3


def test_a_dense_twin_that_comes_later_is_another_identity(tmp_path: Path) -> None:
    write_training(tmp_path)
    training = TrainingFolder(tmp_path)
    before = training.identity
    write_log(tmp_path / "dense", [{"step": 1}])
    assert training.identity != before


def test_files_that_are_not_there_have_no_identity(tmp_path: Path) -> None:
    assert file_identity(tmp_path / "a", tmp_path / "b") == ""


def test_a_folder_with_the_name_of_an_unfinished_file_is_named(tmp_path: Path) -> None:
    write_training(tmp_path)
    (tmp_path / "evaluation.json.partial").mkdir()
    with pytest.raises(ValueError, match="is a folder, not an unfinished file; move it away"):
        TrainingFolder(tmp_path).remove_partials()
