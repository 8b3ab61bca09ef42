"""What is required of a Parquet export before it is read as a shard of a trace."""

from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.connection import TraceError, reading
from data.exports.tables import FORMAT, MANIFEST, TABLES, columns, sha256
from data.shards import TABLES_VERSION, files_of, open_views
from data.strict_json import read_object
from data.trace_check import CHOICES, MOST_SHARDS, check_seconds, require_agreement
from data.trace_format import FORMAT_VERSION
from data.words import first_line

AGAIN = "export the trace again"


def require_sound_tables(folder: Path, *, rows: bool, shards: int) -> None:
    """TraceError: its files are not those of its manifest, or do not agree. Checked once while they
    stay the same; without `rows`, of a large one, or one of many shards, sums alone."""
    files = [*files_of(folder), folder / MANIFEST]
    try:
        stamps = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    except OSError as error:
        missing = Path(error.filename).name
        raise TraceError(f"{folder} has no {missing} ({error.strerror}); {AGAIN}") from error
    try:
        refusal = _refusal(folder.absolute(), stamps, rows, shards)
    except OSError as error:  # of the machine, not of the files: asked again the next time
        raise TraceError(first_line(error)) from error
    if refusal:
        raise TraceError(refusal)


@lru_cache(maxsize=MOST_SHARDS)
def _refusal(folder: Path, _stamps: object, rows: bool, shards: int) -> str | None:
    try:
        _require_manifest(folder)
        choices = _require_columns(folder)
        rows = rows or choices * shards <= CHOICES
        if rows:
            _require_checksums(folder)
        size = sum(file.stat().st_size for file in files_of(folder))
        with (
            open_views([folder]) as con,
            reading(con, folder, seconds=check_seconds(size)),
        ):
            require_agreement(con, folder, TABLES_VERSION, whole=True, rows=rows)
    except (ValueError, pa.ArrowException) as error:
        return first_line(error)
    return None


def _require_columns(folder: Path) -> int:
    """How many choices there are. ValueError: a table is not as an export leaves it."""
    counts = {}
    for table, path in zip(TABLES, files_of(folder), strict=True):
        try:
            with pq.ParquetFile(path, arrow_extensions_enabled=False) as file:
                counts[table], schema = file.metadata.num_rows, file.schema_arrow
        except pa.ArrowException as error:
            raise TraceError(f"{path} is not readable Parquet ({first_line(error)})") from error
        found = [(field.name, str(field.type)) for field in schema]
        if found != [(field.name, str(field.type)) for field in columns()[table]]:
            raise TraceError(f"{path} has other columns than the table {table} of a trace; {AGAIN}")
    if counts["trace"] != 1:
        raise TraceError(
            f"{folder} has {counts['trace']} rows in its table trace, not one; {AGAIN}"
        )
    return counts["routing"]


def _require_manifest(folder: Path) -> None:
    said = read_object(folder / MANIFEST, remedy=AGAIN)
    version = said.get("format_version")
    if said.get("format") != FORMAT or type(version) is not int or version < TABLES_VERSION:
        raise TraceError(f"{folder / MANIFEST} is of no export of a trace; {AGAIN}")
    if version > FORMAT_VERSION:
        raise TraceError(
            f"{folder} is of trace format {version}, and this version reads up to "
            f"{FORMAT_VERSION}; update RouteScope"
        )


def _require_checksums(folder: Path) -> None:
    named = read_object(folder / MANIFEST, remedy=AGAIN).get("files")
    for path in files_of(folder):
        said = named.get(path.name) if isinstance(named, dict) else None
        if not isinstance(said, dict) or said.get("sha256") != sha256(path):
            raise TraceError(f"{path} is not the file that its {MANIFEST} describes; {AGAIN}")
