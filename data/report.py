"""What leaves RouteScope: CSV that no spreadsheet runs, and a zip of tables with a manifest."""

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd
from duckdb import DuckDBPyConnection

from data.strict_json import json_text

FORMULA = re.compile(r"^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n\x00]")  # full-width forms too
BOM = "\ufeff"
TRACE_TABLES = ("document", "token", "expert", "routing", "gate")
VECTORS = 50  # of 2,048 rows
TABLE_NAME = re.compile(r"[a-z0-9_]{1,64}")

Chunks = Callable[[], Iterable[pd.DataFrame]]


def guard(text: object) -> object:
    """Text that a spreadsheet would take for a formula gets a leading apostrophe (CWE-1236)."""
    return f"'{text}" if isinstance(text, str) and FORMULA.match(text) else text


def guarded(frame: pd.DataFrame) -> pd.DataFrame:
    """Text columns only: -0.5 stays -0.5."""
    safe = frame.copy()
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            safe[name] = frame[name].map(guard, na_action="ignore")
    return safe


def csv_text(frame: pd.DataFrame, *, header: bool = True, bom: bool = False) -> str:
    """`bom`: begins with a byte order mark, without which spreadsheets take UTF-8 for Latin."""
    text = guarded(frame).to_csv(
        index=False, header=header, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n"
    )
    return BOM + text if bom else text


def records(table: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as JSON can hold them: what is unknown is null."""
    known = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in known.to_dict("records")]


def write_zip(
    path: Path,
    tables: Mapping[str, Chunks],
    manifest: Mapping[str, object],
    *,
    bom: bool = False,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> None:
    """A CSV a table, written chunk by chunk, then manifest.json with the rows of each."""
    counts: dict[str, int] = {}
    written = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        for name, chunks in tables.items():
            if not TABLE_NAME.fullmatch(name):
                raise ValueError(f"table name {name!r} must be lower-case letters, digits and _")
            counts[f"{name}.csv"] = 0
            with archive.open(f"{name}.csv", "w", force_zip64=True) as raw:
                file = io.TextIOWrapper(raw, encoding="utf-8", newline="")
                for number, frame in enumerate(chunks()):
                    file.write(csv_text(frame, header=number == 0, bom=bom and number == 0))
                    counts[f"{name}.csv"] += len(frame)
                    written += len(frame)
                    on_rows(written)
                file.flush()
                file.detach()
        complete = {**manifest, "rows": counts}
        archive.writestr("manifest.json", json_text(complete, indent=2))


def trace_table(con: DuckDBPyConnection, name: str) -> Iterator[pd.DataFrame]:
    """A table of the trace itself in pieces, so that a big one is never whole in memory."""
    if name not in TRACE_TABLES:
        raise ValueError(f"{name!r} is not a table of a trace; use one of {TRACE_TABLES}")
    result = con.execute(f"SELECT * FROM {name}")
    while len(frame := result.fetch_df_chunk(VECTORS)):
        yield frame
