import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd

from analysis import queries
from analysis.vocabulary_rows import typed, vocabulary_rows
from app import workspace
from app.commands.information import information
from data.sidecar import read_sidecar, sidecar_path
from data.store import open_trace


def test_a_row_a_layer_lies_beside_the_trace(tmp_path: Path, tiny_trace: Path, capsys) -> None:
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
        pd.testing.assert_frame_equal(typed(words[0]), vocabulary_rows(con), check_dtype=False)
    assert {"low", "high", "null", "p", "q", "n_documents", "n_tokens"} <= set(words[0])
    assert '"layers": 2' in capsys.readouterr().out


def test_pages_read_what_lies_beside_this_very_trace(tmp_path: Path, tiny_trace: Path) -> None:
    path = Path(shutil.copy(tiny_trace, tmp_path / "t.duckdb"))
    trace = workspace.TraceFile(path, modified_ns=0, size=0)
    with open_trace(path) as con:
        info = queries.trace_info(con)
    assert workspace.beside(trace, info, "replication") is None
    information(path)
    found = workspace.beside(trace, info, "replication")
    assert found is not None
    assert list(found.check) == ["split_half", "unseen_documents"]
    later = replace(info, created_at=info.created_at + timedelta(seconds=1))
    assert workspace.beside(trace, later, "replication") is None
    sidecar_path(path, "replication").write_bytes(b"damaged")
    assert workspace.beside(trace, info, "replication") is None
