"""Versions of the trace format: which are read, which is written, what older ones lack."""

from dataclasses import fields
from pathlib import Path

import duckdb

from data.routing import UNKNOWN, LayerDescription

FORMAT_VERSION = 8
READABLE_VERSIONS = (3, 4, 5, 6, 7, FORMAT_VERSION)
WITH_LAYERS = 6  # the first version that describes layers one by one
WITH_LISTS = 8  # the first version with a row a decision
LONG = (  # a row a choice and a row a gate, as before lists and as exports have them
    "CREATE TABLE routing (doc_id UINTEGER NOT NULL, position UINTEGER NOT NULL, "
    "layer_id USMALLINT NOT NULL, rank USMALLINT NOT NULL, expert_id USMALLINT NOT NULL, "
    "weight FLOAT NOT NULL)",
    "CREATE TABLE gate (doc_id UINTEGER NOT NULL, position UINTEGER NOT NULL, "
    "layer_id USMALLINT NOT NULL, entropy FLOAT, margin FLOAT)",
)
ADDED = {  # by a version; these statements make its tables those of the version before
    8: (
        "DROP TABLE decision",
        *LONG,
        "DROP TABLE document_size",
        "DROP TABLE document_gate",
    ),
    7: (
        "ALTER TABLE trace DROP COLUMN counts_only",
        "ALTER TABLE token ALTER token_id SET NOT NULL",
        "ALTER TABLE token ALTER text SET NOT NULL",
        "ALTER TABLE finding DROP COLUMN unit",
        "ALTER TABLE finding DROP COLUMN done",
    ),
    6: ("DROP TABLE layer", "ALTER TABLE token DROP COLUMN special"),
    5: ("ALTER TABLE trace DROP COLUMN trace_id", "DROP TABLE finding"),
    4: ('ALTER TABLE document DROP COLUMN "group"',),
}
LAYER_FIELDS = ", ".join(field.name for field in fields(LayerDescription))


def format_version(connection: duckdb.DuckDBPyConnection) -> int:
    return int(connection.execute("SELECT format_version FROM trace").fetchall()[0][0])


def layers_query(schema: str) -> str:
    """Rows of table layer of formats 3 to 5, which say the same of all, and not their names."""
    return (
        "SELECT layer_id, concat('layer ', layer_id) AS name, num_experts, num_shared_experts, "
        f"top_k, scoring, '{UNKNOWN}' AS weighting, '{UNKNOWN}' AS selection "
        f"FROM {schema}.trace, range(num_layers) AS numbers(layer_id)"
    )


def stored_layers(connection: duckdb.DuckDBPyConnection) -> tuple[LayerDescription, ...]:
    """First to last."""
    rows = connection.execute(f"SELECT {LAYER_FIELDS} FROM layer ORDER BY layer_id").fetchall()
    names = [field.name for field in fields(LayerDescription)]
    return tuple(LayerDescription(**dict(zip(names, row, strict=True))) for row in rows)


def require_own_format(connection: duckdb.DuckDBPyConnection, partial: Path) -> None:
    version = format_version(connection)
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{partial} was begun in trace format {version}, this RouteScope writes "
            f"{FORMAT_VERSION}: delete it and capture again"
        )


def stored_groups(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str | None]]:
    """Groups with their domains."""
    return connection.execute(
        'SELECT DISTINCT "group", domain FROM document WHERE "group" IS NOT NULL ORDER BY ALL'
    ).fetchall()
