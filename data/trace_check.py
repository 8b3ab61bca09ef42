"""What is required of a trace before anything is read from it.

A trace may come from anybody. So it holds tables alone, exactly those of its format, and what is
in them agrees: nothing that comes later has to think of an expert that does not exist.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import duckdb

from data.connection import TraceError, connect, reading
from data.groups import SOURCES, sources_of
from data.trace_format import (
    ADDED,
    FORMAT_VERSION,
    READABLE_VERSIONS,
    WITH_LISTS,
)
from data.trace_views import Source, create_views

SCHEMA = Path(__file__).with_name("schema.sql")
CHECKS = Path(__file__).with_name("checks.sql")
BY_FORMAT = "-- what differs by format\n"  # a line of it
DECISIONS, CHOICES = 1_500_000, 10_000_000  # whose rows are read in half a second
MOST_SHARDS = 4_096  # more than a process may have open
CONFIG_CHARACTERS = 10_000_000
DEEPEST = 100  # levels of the configuration
CHECK_SECONDS, BYTES_A_SECOND = 60, 20_000_000  # of a check, before it is stopped
TRUNCATED = ("documents", "tokens")
GROUPS = ("documents", "groups", "joined")
NON_FINITE = "SELECT count(*) > 0 FROM finding WHERE kind = 'non-finite'"
FINDINGS = """
SELECT 'its findings are more than 1,000, longer than 10,000 bytes, too often or of no severity'
FROM finding
HAVING count(*) > 1000 OR sum(occurrences) > 1e15
    OR max(strlen(kind) + strlen(first_example) + strlen(effect)) > 10000
    OR NOT bool_and(severity IN ('fatal', 'warning', 'note'))
"""
OPENED = """
CREATE TEMP TABLE opened AS
SELECT num_layers::INTEGER AS num_layers, top_k, counts_only,
       $whole::BOOLEAN AND NOT counts_only AS pairs, $named::BOOLEAN AS named
FROM trace
"""
# Whatever else a file may hold can run SQL. Asked by full names and without any function or
# operator: a macro of the file may have their names, + and count included.
OTHERS = "database_name <> 'system' AND database_name <> 'temp'"
OBJECTS = {
    "view": f"SELECT view_name FROM system.main.duckdb_views() WHERE {OTHERS} AND NOT internal",
    "macro": f"SELECT function_name FROM system.main.duckdb_functions() WHERE {OTHERS}",
    "index": f"SELECT index_name FROM system.main.duckdb_indexes() WHERE {OTHERS}",
    "sequence": f"SELECT sequence_name FROM system.main.duckdb_sequences() WHERE {OTHERS}",
    "type": f"SELECT type_name FROM system.main.duckdb_types() WHERE {OTHERS} AND NOT internal",
    "trigger": f"SELECT trigger_name FROM system.main.duckdb_triggers() WHERE {OTHERS}",
    "schema": "SELECT schema_name FROM system.main.duckdb_schemas() "
    f"WHERE {OTHERS} AND schema_name <> 'main'",
}
TABLES = f"SELECT table_name, sql FROM system.main.duckdb_tables() WHERE {OTHERS}"


def require_sound(path: Path, *, whole: bool = True, rows: bool = True, shards: int = 1) -> None:
    """The file is a trace whose contents agree. A file is checked once while it stays the same;
    without `rows`, of one of so many shards."""
    log = path.with_name(path.name + ".wal")  # what DuckDB had not put into the file
    if refusal := _refusal(path.absolute(), _stamp(path), _stamp(log), whole, rows, shards):
        raise TraceError(refusal)


def _stamp(path: Path) -> tuple[int, int] | None:
    """(when it was modified, bytes)"""
    try:
        file = path.stat()
    except OSError:
        return None
    return file.st_mtime_ns, file.st_size


@lru_cache(maxsize=MOST_SHARDS)
def _refusal(
    path: Path, _file: object, _log: object, whole: bool, rows: bool, shards: int
) -> str | None:
    """Why it cannot be read; None where it can."""
    try:
        with (
            connect(path, read_only=True) as connection,
            reading(connection, path, seconds=check_seconds(path.stat().st_size)),
        ):
            check_trace(connection, path, whole=whole, rows=rows, shards=shards)
    except TraceError as error:
        return str(error)
    return None


def check_seconds(size: int) -> float:
    """How long a check of a file of so many bytes may take."""
    return CHECK_SECONDS + size / BYTES_A_SECOND


def check_trace(
    con: duckdb.DuckDBPyConnection,
    path: Path,
    *,
    whole: bool = True,
    rows: bool = True,
    shards: int = 1,
) -> None:
    """TraceError: it is not sound. Temporary tables stay in `con`; an interrupted capture is not
    whole. Without `rows`, sums alone are checked, where those of so many shards take long."""
    tables = _tables(con, path)
    version = _version(con, path, tables)
    _require_schema(path, tables, version)
    rows = rows or few_rows(con, version, shards)
    create_views(con, [Source("file.main", version)])
    con.execute("USE memory")
    require_agreement(con, path, version, whole=whole, rows=rows)


def require_agreement(
    con: duckdb.DuckDBPyConnection, path: Path, version: int, *, whole: bool, rows: bool
) -> None:
    """TraceError: what its views show does not agree."""
    if wrong := disagreement(con, version, whole=whole, rows=rows):
        raise TraceError(
            f"{path} is damaged or was altered: {wrong}; copy it again or capture again"
        )


def few_rows(con: duckdb.DuckDBPyConnection, version: int, shards: int) -> bool:
    """Those of so many shards like it are read while somebody waits for a page."""
    table, most = ("decision", DECISIONS) if version >= WITH_LISTS else ("routing", CHOICES)
    size = "SELECT estimated_size FROM system.main.duckdb_tables() WHERE table_name = $1"
    return con.execute(size, [table]).fetchall()[0][0] * shards <= most


def disagreement(
    con: duckdb.DuckDBPyConnection,
    version: int = FORMAT_VERSION,
    *,
    whole: bool = True,
    rows: bool = True,
) -> str | None:
    """What is wrong with the contents of views of the trace; None if nothing."""
    return _wrong_config(con) or _wrong_contents(con, version, whole=whole, every=rows)


def _tables(con: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """The statement that makes each table."""
    for kind, query in OBJECTS.items():
        if names := con.execute(query).fetchall():
            raise TraceError(
                f"{path} holds the {kind} {names[0][0]!r:.80}, and a trace holds tables alone: "
                "capture again"
            )
    return dict(con.execute(TABLES).fetchall())


def _version(con: duckdb.DuckDBPyConnection, path: Path, tables: Mapping[str, str]) -> int:
    if "format_version" not in tables.get("trace", ""):
        raise TraceError(f"{path} is a DuckDB file but not a trace: it has no table trace")
    rows = con.execute("SELECT format_version FROM trace LIMIT 2").fetchall()
    if len(rows) != 1 or rows[0][0] not in READABLE_VERSIONS:
        versions = ", ".join(f"{row[0]!s:.20}" for row in rows) or "no version"
        readable = f"{READABLE_VERSIONS[0]} to {FORMAT_VERSION}"
        raise TraceError(
            f"{path} has trace format {versions}, this RouteScope reads {readable}: capture again"
        )
    return int(rows[0][0])


def _require_schema(path: Path, tables: Mapping[str, str], version: int) -> None:
    if differing := sorted({name for name, _ in tables.items() ^ schema(version).items()}):
        raise TraceError(
            f"{path} is damaged or was altered: its table {differing[0]!r:.80} is not that of "
            f"trace format {version}; copy it again or capture again"
        )


@cache
def schema(version: int) -> dict[str, str]:
    """Of a trace of that format: the statement that makes each table."""
    with connect(Path(":memory:"), read_only=False) as con:
        con.execute(SCHEMA.read_text(encoding="utf-8"))
        for added, statements in ADDED.items():
            if added > version:
                for statement in statements:
                    con.execute(statement)
        return dict(con.execute(TABLES).fetchall())


def _wrong_contents(
    con: duckdb.DuckDBPyConnection, version: int, *, whole: bool, every: bool
) -> str | None:
    """What does not agree in the tables; the first thing found."""
    if rows := con.execute(FINDINGS).fetchall():
        return str(rows[0][0])
    named = con.execute(NON_FINITE).fetchall()[0][0]
    con.execute(OPENED, {"whole": whole, "named": named})
    form = "lists" if version >= WITH_LISTS else "rows"
    of_format = CHECKS.with_name(f"checked_{form}.sql").read_text(encoding="utf-8").strip()
    checks = CHECKS.read_text(encoding="utf-8").replace(BY_FORMAT, f"{of_format};\n")
    for statement in checks.strip().split(";\n"):
        if ("-- Sums alone.\n" if every else "-- Every row.\n") in statement:
            continue
        rows = con.execute(statement).fetchall()
        if rows and "CREATE TEMP TABLE" not in statement:
            return str(rows[0][0])
    return None


def _wrong_config(con: duckdb.DuckDBPyConnection) -> str | None:
    """What pages and merges read of it."""
    (text,) = con.execute("SELECT left(config, $1) FROM trace", [CONFIG_CHARACTERS]).fetchall()[0]
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        return "its configuration is no JSON, or too large"
    if not isinstance(config, dict):
        return "its configuration is no JSON object"
    if nested_deeper(config, DEEPEST):
        return f"its configuration is nested more than {DEEPEST} deep"
    parts = {name: config.get(name) for name in ("model", "capture", "truncated")}
    for name, part in parts.items():
        if not isinstance(part, dict | None):
            return f"the {name} of its configuration is no JSON object"
    if "truncated" in config and parts["truncated"] is None:
        return "the truncated of its configuration is no JSON object"
    return _wrong_counts("truncated", parts["truncated"], TRUNCATED) or _wrong_groups(
        parts["capture"] or {}
    )


def nested_deeper(value: object, levels: int) -> bool:
    """So deep that walking through it could end in a RecursionError."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(nested_deeper(one, levels - 1) for one in inner)


def _wrong_groups(capture: dict[str, Any]) -> str | None:
    groups = capture.get("groups")
    if groups is None:
        return None
    if not isinstance(groups, dict) or not {*sources_of({"from": None} | groups)} <= {*SOURCES}:
        return "its configuration does not say where its groups are from"
    prompts = capture.get("prompts")
    if not isinstance(prompts, dict) or not isinstance(prompts.get("sha256", ""), str | None):
        return "its configuration has groups, but no prompts"
    return _wrong_counts("groups", groups, GROUPS)


def _wrong_counts(what: str, counts: dict[str, Any] | None, names: Sequence[str]) -> str | None:
    if counts is not None and not all(_is_count(counts.get(name)) for name in names):
        return f"the {what} of its configuration lack a number of {', '.join(names)}"
    return None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63
