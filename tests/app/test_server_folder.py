"""The temporary folder of a server: whose it is, and what a dead one leaves."""

import fcntl
import os
from pathlib import Path

import pytest

from app import server_folder
from app.server_folder import LOCK, PREFIX, claim, read_jobs, write_jobs


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def left_by_the_dead(temporary: Path, name: str, traces: Path, *titles: str) -> Path:
    """With a lock that nobody holds, as after `kill -9`, whoever has the number of its process."""
    folder = temporary / f"{PREFIX}{name}"
    (folder / "run").mkdir(parents=True)
    (folder / "run" / "upload.csv").write_text("private")
    (folder / LOCK).touch()
    write_jobs(folder, traces, titles)
    return folder


def test_what_a_dead_server_left_is_deleted_and_its_jobs_are_told(
    temporary: Path, tmp_path: Path
) -> None:
    first = left_by_the_dead(temporary, "a", tmp_path, "Running your text")
    second = left_by_the_dead(temporary, "b", tmp_path, "Running your text", "Making the maps")
    mine = claim(tmp_path)
    told = ["Making the maps", "Running your text", "Running your text"]  # two ran
    assert sorted(read_jobs(mine)[1]) == told
    assert not first.exists()
    assert not second.exists()


def test_the_jobs_of_another_folder_of_traces_are_kept_for_its_own_server(
    temporary: Path, tmp_path: Path
) -> None:
    left = left_by_the_dead(temporary, "a", tmp_path / "other", "Making the maps")
    assert read_jobs(claim(tmp_path / "mine"))[1] == []
    assert not (left / "run").exists()
    assert read_jobs(claim(tmp_path / "other"))[1] == ["Making the maps"]
    assert not left.exists()


def test_a_living_server_keeps_its_folder(temporary: Path, tmp_path: Path) -> None:
    alive = left_by_the_dead(temporary, "a", tmp_path, "Making the maps")
    lock = os.open(alive / LOCK, os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert read_jobs(claim(tmp_path))[1] == []
    assert (alive / "run" / "upload.csv").is_file()
    os.close(lock)


def test_what_is_no_folder_of_a_server_is_left_alone(temporary: Path, tmp_path: Path) -> None:
    (temporary / f"{PREFIX}no-lock").mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / LOCK).touch()
    (temporary / f"{PREFIX}link").symlink_to(target)
    (temporary / f"{PREFIX}file").touch()
    claim(tmp_path)
    assert (temporary / f"{PREFIX}no-lock").is_dir()
    assert (target / LOCK).is_file()


@pytest.mark.parametrize("content", ["", "[", "[]", '{"jobs": 3}', '{"traces": "x", "jobs": 3}'])
def test_a_damaged_record_tells_nothing(content: str, temporary: Path, tmp_path: Path) -> None:
    left = left_by_the_dead(temporary, "a", tmp_path, "Making the maps")
    (left / server_folder.JOBS).write_text(content)
    assert read_jobs(claim(tmp_path))[1] == []
    assert not left.exists()
