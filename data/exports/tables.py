"""Every table of a trace as a file, and a manifest that says what each must be. Parquet comes back
through `data/importers/parquet_export.py`; JSON Lines are for everybody else.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data.connection import connect
from data.strict_json import json_text
from data.trace_check import SCHEMA
from data.trace_format import FORMAT_VERSION, LONG

MANIFEST = "manifest.json"
FORMAT = "routescope trace tables"
ROWS = 262_144  # of a row group
FEW_ROWS = {"document": 256, "token": 65_536}  # which hold texts
TABLES = (
    "trace",
    "layer",
    "document",
    "token",
    "expert",
    "routing",
    "gate",
    "dropped",
    "finding",
    "document_load",
    "document_dropped",
    "document_k",
    "coactivation",
    "transition",
)


@cache
def columns() -> dict[str, pa.Schema]:
    """Of each table, as this RouteScope writes it; nullable where a value may be missing."""
    with connect(Path(":memory:"), read_only=False) as con:
        con.execute(SCHEMA.read_text(encoding="utf-8"))
        for statement in LONG:
            con.execute(statement)
        found = {}
        for table in TABLES:
            schema = con.sql(f"FROM {table} LIMIT 0").to_arrow_table().schema
            described = con.execute(f"DESCRIBE {table}").fetchall()
            nulls = [row[2] == "YES" for row in described]
            found[table] = pa.schema(
                [field.with_nullable(null) for field, null in zip(schema, nulls, strict=True)]
            )
        return found


def write_tables(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    *,
    parquet: bool,
) -> dict[str, int]:
    """Fill the folder; rows of each table. Rows lie as in the trace: a text after the other."""
    write, ending = (write_parquet, "parquet") if parquet else (write_json_lines, "jsonl")
    files: dict[str, dict[str, object]] = {}
    rows = {}
    for table in TABLES:
        path = folder / f"{table}.{ending}"
        rows[table] = write(path, table, batches(con, table))
        files[path.name] = {"rows": rows[table], "sha256": sha256(path)}
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "trace_id": con.execute("SELECT trace_id FROM trace").fetchall()[0][0],
        "files": files,
    }
    (folder / MANIFEST).write_text(json_text(manifest, indent=2), encoding="utf-8")
    return rows


def batches(con: duckdb.DuckDBPyConnection, table: str) -> Iterator[pa.RecordBatch]:
    """Rows in the present format, in the order of the file."""
    schema = columns()[table]
    names = {name: f'"{name}"' for name in schema.names}
    if "format_version" in names:
        names["format_version"] = f"{FORMAT_VERSION}::USMALLINT AS format_version"
    order = " ORDER BY layer_id" if table == "layer" else ""
    query = f"SELECT {', '.join(names.values())} FROM {table}{order}"
    for batch in con.sql(query).to_arrow_reader(FEW_ROWS.get(table, ROWS)):
        yield batch.cast(schema)


def write_parquet(path: Path, table: str, rows: Iterator[pa.RecordBatch]) -> int:
    written = 0
    with pq.ParquetWriter(path, columns()[table], compression="zstd") as file:
        for batch in rows:
            file.write_batch(batch)
            written += len(batch)
    return written


def write_json_lines(path: Path, table: str, rows: Iterator[pa.RecordBatch]) -> int:
    written = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for batch in rows:
            file.writelines(f"{json_text(json_row(row))}\n" for row in batch.to_pylist())
            written += len(batch)
    return written


def json_row(row: dict[str, object]) -> dict[str, object]:
    """A trace's moment as ISO 8601 says it, and its configuration as what it is."""
    created_at = row.get("created_at")
    if not isinstance(created_at, datetime):
        return row
    config = json.loads(str(row["config"]))
    return row | {"created_at": f"{created_at.isoformat()}Z", "config": config}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
