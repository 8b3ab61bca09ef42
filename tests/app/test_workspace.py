import os
from pathlib import Path

import duckdb
import pytest

from app import workspace
from data.connection import TraceError
from tests.trainings import log_line, write_log, write_training


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(tmp_path / "traces"))
    (tmp_path / "traces").mkdir()
    return tmp_path / "traces"


def test_only_finished_traces_are_listed_the_demo_first(traces: Path) -> None:
    for name in ("late.duckdb", "demo.duckdb", "cut.duckdb.partial", "demo.tokens.parquet"):
        (traces / name).touch()
    files, others = workspace.traces()
    assert [trace.name for trace in files] == ["demo", "late"]
    assert others == []


def test_what_is_named_like_a_trace_and_is_none_is_named_with_the_reason(traces: Path) -> None:
    (traces / "a.duckdb").touch()
    (traces / "folder.duckdb").mkdir()
    (traces / "gone.duckdb").symlink_to(traces / "nowhere")
    (traces / "loop.duckdb").symlink_to(traces / "loop.duckdb")
    os.mkfifo(traces / "pipe.duckdb")
    (Path(os.fsdecode(bytes(traces) + b"/\xff.duckdb"))).touch()
    files, others = workspace.traces()
    assert [trace.name for trace in files] == ["a"]
    assert others == [
        "folder.duckdb (not a file)",
        "gone.duckdb (No such file or directory)",
        "loop.duckdb (Too many levels of symbolic links)",
        "pipe.duckdb (not a file)",
        r"'\udcff.duckdb' (a name that is not UTF-8)",
    ]


def test_a_changed_file_has_another_identity(traces: Path) -> None:
    (traces / "a.duckdb").write_bytes(b"1")
    before = workspace.trace_file(traces / "a.duckdb").identity
    (traces / "a.duckdb").write_bytes(b"22")
    assert workspace.trace_file(traces / "a.duckdb").identity != before


@pytest.mark.parametrize("name", ["", "../up", "/etc/passwd", "a" * 65, ".hidden", "a\nb", "a/b"])
def test_a_name_that_is_not_plain_is_refused(traces: Path, name: str) -> None:
    with pytest.raises(ValueError, match="letters"):
        workspace.new_trace_path(name)


def test_a_taken_name_is_refused(traces: Path) -> None:
    (traces / "mine.duckdb").touch()
    with pytest.raises(ValueError, match="exists"):
        workspace.new_trace_path("mine")


def test_a_trace_that_cannot_be_saved_leaves_nothing(traces: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        workspace.save_trace(tmp_path / "gone.duckdb", "mine")
    assert list(traces.iterdir()) == []


def test_readers_share_a_connection_and_not_a_cursor(tiny_trace: Path) -> None:
    trace = workspace.trace_file(tiny_trace)
    with workspace.cursor(trace) as first, workspace.cursor(trace) as second:
        assert first is not second
        assert first.execute("SELECT count(*) FROM token").fetchone() == (8,)


def test_a_cursor_cannot_write(tiny_trace: Path) -> None:
    with (
        workspace.cursor(workspace.trace_file(tiny_trace)) as con,
        pytest.raises(duckdb.InvalidInputException),
    ):
        con.execute("DELETE FROM file.token")


def test_what_takes_too_long_to_read_is_stopped(tiny_trace: Path) -> None:
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range = -1"
    trace = workspace.trace_file(tiny_trace)
    with (
        pytest.raises(TraceError, match=r"took longer than 0\.1 s and was stopped"),
        workspace.cursor(trace, seconds=0.1) as con,
    ):
        con.execute(endless).fetchall()
    with workspace.cursor(trace) as con:
        assert con.execute("SELECT count(*) FROM token").fetchone() == (8,)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(tmp_path / "model"))
    monkeypatch.setenv("ROUTESCOPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(workspace, "SHIPPED_TRAININGS", tmp_path / "stages")
    return tmp_path


def test_without_logs_there_is_no_training(folders: Path) -> None:
    (folders / "model").mkdir()
    assert workspace.trainings() == []


def test_trainings_have_names_of_their_own_and_running_ones_are_first(folders: Path) -> None:
    for name in ("model", "stages/full", "runs/full", "runs/a/full"):
        write_training(folders / name)
    write_training(folders / "runs" / "z", finished=False)
    write_log(folders / "runs" / "a" / "b" / "too-deep", [log_line(1)])
    (folders / "runs" / "no-log").mkdir()
    assert [(training.name, training.state) for training in workspace.trainings()] == [
        ("runs/z", "running"),
        ("model", "finished"),
        ("stages/full", "finished"),
        ("runs/a/full", "finished"),
        ("runs/full", "finished"),
    ]


def test_the_shipped_training_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUTESCOPE_MODEL", raising=False)
    assert "shipped" in [training.name for training in workspace.trainings()]
