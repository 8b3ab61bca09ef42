"""Versions of the trace format: which are read, which is written, what older ones lack."""

from pathlib import Path

import duckdb

FORMAT_VERSION = 5
READABLE_VERSIONS = (3, 4, FORMAT_VERSION)
ADDED = {  # by a version; these statements make its tables those of the version before
    5: ("ALTER TABLE trace DROP COLUMN trace_id", "DROP TABLE finding"),
    4: ('ALTER TABLE document DROP COLUMN "group"',),
}


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
