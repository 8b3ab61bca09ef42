import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from analysis.vocabulary_rows import vocabulary_rows, with_q
from app import workspace
from app.commands.information import information
from app.trace import Trace
from app.trace import open_trace as trace_of
from data.sidecar import read_sidecar, sidecar_path
from data.store import open_trace


def test_a_row_a_layer_lies_beside_the_trace(
    tmp_path: Path, tiny_trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = Path(shutil.copy(tiny_trace, tmp_path / "t.duckdb"))
    information(trace, as_json=True)
    found = read_sidecar(trace, "information")
    assert found is not None
    table, parameters = found
    assert table.layer_id.tolist() == [0, 1]
    assert (table.beyond.notna() | (table.reason != "")).all()
    assert parameters["trace"] == "tiny"
    words = read_sidecar(trace, "vocabulary")
    assert words is not None
    with open_trace(trace) as con:
        pd.testing.assert_frame_equal(with_q(words[0]), vocabulary_rows(con), check_dtype=False)
    assert {"low", "high", "null", "p", "q", "n_documents", "n_tokens"} <= set(words[0])
    assert '"layers": 2' in capsys.readouterr().out


def test_pages_read_what_lies_beside_this_very_trace(tmp_path: Path, tiny_trace: Path) -> None:
    path = Path(shutil.copy(tiny_trace, tmp_path / "t.duckdb"))
    file = workspace.trace_file(path)
    trace = trace_of(file)
    assert trace.beside("replication") is None
    information(path)
    found = trace.beside("replication")
    assert found is not None
    assert list(found.check) == ["split_half", "unseen_documents"]
    later = replace(trace.info, created_at=trace.info.created_at + timedelta(seconds=1))
    assert Trace(file, later, trace.k_range).beside("replication") is None
    sidecar_path(path, "replication").write_bytes(b"damaged")
    assert trace.beside("replication") is None
