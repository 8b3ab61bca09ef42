"""Versions of the trace format: which are read, which is written, what older ones lack."""

from pathlib import Path

import duckdb

FORMAT_VERSION = 5
READABLE_VERSIONS = (3, 4, FORMAT_VERSION)  # 3 has no groups; 3 and 4 no trace_id, no findings


def check_format(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        rows = connection.execute("SELECT format_version FROM trace").fetchall()
    except duckdb.CatalogException as error:
        raise ValueError(
            f"{path} is a DuckDB file but not a trace: it has no table trace"
        ) from error
    except duckdb.Error as error:
        raise ValueError(f"cannot read {path}: {first_line(error)}") from error
    if len(rows) != 1 or rows[0][0] not in READABLE_VERSIONS:
        versions = ", ".join(str(row[0]) for row in rows) or "no version"
        readable = f"{READABLE_VERSIONS[0]} to {FORMAT_VERSION}"
        raise ValueError(
            f"{path} has trace format {versions}, this RouteScope reads {readable}: capture again"
        )


def require_own_format(connection: duckdb.DuckDBPyConnection, partial: Path) -> None:
    version = connection.execute("SELECT format_version FROM trace").fetchall()[0][0]
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{partial} was begun in trace format {version}, this RouteScope writes "
            f"{FORMAT_VERSION}: delete it and capture again"
        )


def stored_groups(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str | None]]:
    """Groups with their domains; a trace of format 3 has none."""
    columns = [column[0] for column in connection.execute("FROM document LIMIT 0").description]
    if "group" not in columns:
        return []
    return connection.execute(
        'SELECT DISTINCT "group", domain FROM document WHERE "group" IS NOT NULL ORDER BY ALL'
    ).fetchall()


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
