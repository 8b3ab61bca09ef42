import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data.exports.tables import TABLES, columns, sha256, write_tables
from data.store import open_trace
from tests.data.importers.parquet_folders import all_rows, counted_trace, full_trace, imported
from tests.data.stored import as_format_3, as_format_5, write_two_documents

FILES = {*(f"{table}.jsonl" for table in TABLES), "manifest.json"}


def json_lines(trace: Path) -> Path:
    folder = trace.with_suffix("")
    folder.mkdir()
    with open_trace(trace) as con:
        write_tables(con, folder, parquet=False)
    return folder


def rows(folder: Path, table: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / f"{table}.jsonl").read_text().splitlines()]


def test_every_table_is_a_file_with_its_rows_and_checksum(tmp_path: Path) -> None:
    folder = json_lines(full_trace(tmp_path / "a.duckdb"))
    assert {path.name for path in folder.iterdir()} == FILES
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format_version"] == 8
    assert manifest["trace_id"] == rows(folder, "trace")[0]["trace_id"]
    for name, said in manifest["files"].items():
        lines = (folder / name).read_text().count("\n")
        assert said == {"rows": lines, "sha256": sha256(folder / name)}


def test_a_line_is_a_row(tmp_path: Path) -> None:
    folder = json_lines(full_trace(tmp_path / "a.duckdb"))
    assert rows(folder, "token")[2] == {
        "doc_id": 5,
        "position": 2,
        "token_id": 9,
        "text": "é",
        "phase": 1,
        "loss": 2.0,
        "special": None,
    }
    [trace] = rows(folder, "trace")
    assert isinstance(trace["config"], dict)
    assert str(trace["created_at"]).endswith("Z")


def test_counts_have_files_of_tokens_without_rows(tmp_path: Path) -> None:
    folder = json_lines(counted_trace(tmp_path / "a.duckdb"))
    assert rows(folder, "token") == []
    assert [row["tokens"] for row in rows(folder, "document_load")] == [4, 2, 1, 1]


def test_rows_of_parquet_have_the_types_of_a_trace(tmp_path: Path) -> None:
    trace = full_trace(tmp_path / "a.duckdb")
    with open_trace(trace) as con:
        written = write_tables(con, tmp_path, parquet=True)
    assert {
        table: pq.read_table(tmp_path / f"{table}.parquet").num_rows for table in TABLES
    } == written
    for table in TABLES:
        assert pq.read_schema(tmp_path / f"{table}.parquet").equals(columns()[table])


@pytest.mark.parametrize("older", [as_format_3, as_format_5])
def test_an_older_trace_is_written_as_one_of_today(
    tmp_path: Path, older: Callable[[Path], Path]
) -> None:
    trace = tmp_path / "a.duckdb"
    write_two_documents(trace)
    before = all_rows(trace)
    folder = tmp_path / "a"
    folder.mkdir()
    with open_trace(older(trace)) as con:
        write_tables(con, folder, parquet=True)
    after = all_rows(imported(folder))
    assert {table for table in TABLES if after[table] != before[table]} == {"layer"}
    assert "layer 1" in after["layer"]
