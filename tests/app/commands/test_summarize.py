"""`routescope summarize`, and the end of commands that make a trace."""

import json
import shutil
from pathlib import Path

import pytest

from app import summary_kinds
from app.cli import main
from app.commands import merge
from app.commands.summarize import summarize, summarize_large
from app.studies import summary
from data.sidecar import sidecar_path
from tests.app.shell import Run
from tests.app.sparse_traces import counted

FILES = ["lifts", "domain_counts", "metrics", "loads", "sample", "replication"]


@pytest.fixture
def trace(tiny_trace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny_trace, tmp_path / "t.duckdb"))


def test_it_writes_what_is_missing_and_says_how_far_it_is(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summarize(trace, as_json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["files"] == [f"t.{name}.parquet" for name in FILES]
    assert "stage 1/6: lifts of every expert and domain" in printed.err
    assert "stage 6/6: specialists in other texts" in printed.err
    summarize(trace)
    assert capsys.readouterr().out.splitlines()[-1] == "everything is there already"


def test_a_damaged_table_is_named_and_made_again(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sidecar_path(trace, summary_kinds.LOADS).write_bytes(b"PAR1")
    summarize(trace)
    assert f"`routescope summarize {trace}` makes it again." in capsys.readouterr().err
    assert sidecar_path(trace, summary_kinds.LOADS).stat().st_size > 4


def test_a_file_of_somebody_else_is_refused_before_the_work(trace: Path, refused: Run) -> None:
    sidecar_path(trace, summary_kinds.REPLICATION).mkdir()
    assert "is not a result of RouteScope and is left alone" in refused("summarize", trace)
    assert not sidecar_path(trace, summary_kinds.LIFTS).exists()


def test_an_empty_trace_is_refused_in_a_line(tmp_path: Path, refused: Run) -> None:
    from tests.traces import write_empty_trace

    write_empty_trace(tmp_path / "empty.duckdb")
    assert "no text has routed tokens" in refused("summarize", tmp_path / "empty.duckdb")


def test_commands_that_make_a_trace_summarize_a_large_one(
    trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summarize_large(trace, wanted=True, quiet=True)
    assert not list(trace.parent.glob("*.parquet"))
    monkeypatch.setattr(summary, "LARGE", 0)
    summarize_large(trace, wanted=False, quiet=True)
    assert not list(trace.parent.glob("*.parquet"))
    summarize_large(trace, wanted=True, quiet=True)
    assert len(list(trace.parent.glob("*.parquet"))) == len(FILES)


def test_a_large_trace_of_counts_is_summarized_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "LARGE", 0)
    counted(tmp_path / "t.duckdb", top_k=2)
    summarize_large(tmp_path / "t.duckdb", wanted=True, quiet=True)
    assert len(list(tmp_path.glob("*.parquet"))) == len(FILES)


def test_what_keeps_a_summary_from_being_made_is_a_line_and_the_trace_is_there(
    trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(summary, "LARGE", 0)
    sidecar_path(trace, summary_kinds.REPLICATION).mkdir()
    summarize_large(trace, wanted=True, quiet=True)
    said = capsys.readouterr().err
    assert said.startswith(f"{trace} is complete; `routescope summarize {trace}` makes its interv")
    assert "which failed: t.replication.parquet is not a result of RouteScope" in said


def test_merging_ends_with_a_summary_unless_it_is_told_not_to(
    trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def merged(traces: list[Path], out: Path) -> int:
        shutil.copy(traces[0], out)
        return 3

    monkeypatch.setattr(summary, "LARGE", 0)
    monkeypatch.setattr(merge, "merge_traces", merged)
    for name, given in (("without", ["--no-summary"]), ("with", [])):
        out = trace.parent / f"{name}.duckdb"
        command = ["routescope", "merge", str(trace), str(trace), "--out", str(out), *given]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
    found = {path.name.split(".")[0] for path in trace.parent.glob("*.parquet")}
    assert found == {"with"}
