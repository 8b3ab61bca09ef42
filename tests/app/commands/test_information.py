import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.vocabulary_rows import vocabulary_rows, with_q
from app import workspace
from app.commands.information import information
from app.sidecars import INFORMATION, VOCABULARY
from app.trace import Trace
from app.trace import open_trace as trace_of
from data.sidecar import Absent, Reason, Sidecar, sidecar_path
from data.store import open_trace


def test_a_row_a_layer_lies_beside_the_trace(
    tmp_path: Path, tiny_trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = Path(shutil.copy(tiny_trace, tmp_path / "t.duckdb"))
    information(trace, as_json=True)
    stored = trace_of(workspace.trace_file(trace))
    table = stored.beside(INFORMATION)
    assert isinstance(table, Sidecar)
    assert table.frame.layer_id.tolist() == [0, 1]
    assert (table.frame.beyond.notna() | (table.frame.reason != "")).all()
    assert table.parameters["trace_id"] == stored.info.trace_id
    words = stored.beside(VOCABULARY)
    assert isinstance(words, Sidecar)
    with open_trace(trace) as con:
        pd.testing.assert_frame_equal(with_q(words.frame), vocabulary_rows(con), check_dtype=False)
    assert {"low", "high", "null", "p", "q", "n_documents", "n_tokens"} <= set(words.frame)
    assert '"layers": 2' in capsys.readouterr().out


def test_pages_read_what_lies_beside_this_very_trace(tmp_path: Path, tiny_trace: Path) -> None:
    path = Path(shutil.copy(tiny_trace, tmp_path / "t.duckdb"))
    file = workspace.trace_file(path)
    trace = trace_of(file)
    assert reason_of(trace) is Reason.NOT_MADE
    information(path)
    stored = trace.beside(VOCABULARY)
    assert isinstance(stored, Sidecar)
    assert stored.frame.layer_id.tolist() == [0, 1]
    other = Trace(file, replace(trace.info, trace_id="another"), trace.k_range)
    assert reason_of(other) is Reason.OTHER_TRACE
    sidecar_path(path, VOCABULARY).write_bytes(b"damaged")
    assert reason_of(trace) is Reason.DAMAGED


def reason_of(trace: Trace) -> Reason:
    absent = trace.beside(VOCABULARY)
    assert isinstance(absent, Absent)
    return absent.reason


def test_a_damaged_result_is_named_and_made_again(
    tmp_path: Path, tiny_trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copy(tiny_trace, tmp_path / "t.duckdb"))
    sidecar_path(path, INFORMATION).write_bytes(b"PAR1")
    information(path, as_json=True)
    assert capsys.readouterr().err.splitlines()[0] == (
        "t.information.parquet is damaged and is not used (it is cut or not Parquet): "
        f"`routescope information {path}` makes it again."
    )
    assert isinstance(trace_of(workspace.trace_file(path)).beside(INFORMATION), Sidecar)


def test_a_link_is_refused_before_the_work(tmp_path: Path, tiny_trace: Path) -> None:
    path = Path(shutil.copy(tiny_trace, tmp_path / "t.duckdb"))
    target = tmp_path / "precious"
    target.write_text("mine")
    sidecar_path(path, INFORMATION).symlink_to(target)
    with pytest.raises(ValueError, match=r"it is a link\): move it away, and `routescope informat"):
        information(path)
    assert target.read_text() == "mine"
    assert not sidecar_path(path, VOCABULARY).exists()
