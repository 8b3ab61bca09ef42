import shutil
from pathlib import Path

import pandas as pd

from analysis.vocabulary_rows import typed, vocabulary_rows
from app.commands.information import information
from data.sidecar import read_sidecar
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
    assert '"layers": 2' in capsys.readouterr().out
