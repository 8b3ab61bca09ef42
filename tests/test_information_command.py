import shutil
from pathlib import Path

from app.commands.information import information
from data.sidecar import read_sidecar


def test_a_row_a_layer_lies_beside_the_trace(tmp_path: Path, tiny_trace: Path, capsys) -> None:
    trace = Path(shutil.copy(tiny_trace, tmp_path / "t.duckdb"))
    information(trace, as_json=True)
    found = read_sidecar(trace, "information")
    assert found is not None
    table, parameters = found
    assert table.layer_id.tolist() == [0, 1]
    assert (table.beyond.notna() | (table.reason != "")).all()
    assert parameters["trace"] == "tiny"
    assert '"layers": 2' in capsys.readouterr().out
