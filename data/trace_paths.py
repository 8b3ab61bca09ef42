"""Where a trace lies, and what is unfinished of it: a capture as .partial, a merge as .merging."""

import os
from pathlib import Path

import duckdb

from data.connection import (
    ENDINGS,
    BeingWrittenError,
    TraceError,
    connect,
    is_duckdb,
    require_plain_path,
)
from data.file_names import MOST_BYTES
from data.outputs import partial_path, require_new_file, require_unfinished


def merging_path(path: Path) -> Path:
    return path.with_name(path.name + ".merging")


def fresh_path(path: Path) -> Path:
    """Of an unfinished file, until it has all its tables."""
    return path.with_name(path.name + ".new")


def require_trace_name(path: Path) -> None:
    if path.suffix != ".duckdb":
        raise ValueError(f"a trace is a .duckdb file, {path.name or path} is not")


def require_free(path: Path) -> None:
    """Nothing finished or unfinished lies where a trace is to be written, and it can be made."""
    require_trace_name(path)
    require_plain_path(path)
    if len(os.fsencode(path.stem)) > MOST_BYTES:
        raise ValueError(f"a trace name has at most {MOST_BYTES} bytes, {path.name} has more")
    partial = partial_path(path)
    require_ours(partial, what="an unfinished capture")
    for ending in ENDINGS:
        require_new_file(path.with_name(path.name + ending))
    if partial.exists() and not is_empty(partial):
        raise ValueError(f"{partial} is an unfinished capture; add --resume or delete it")


def require_ours(unfinished: Path, *, what: str) -> None:
    """Nothing lies there, or what a capture or merge that was cut short has left."""
    for file in (unfinished, fresh_path(unfinished)):
        for ending in ENDINGS:
            require_unfinished(file.with_name(file.name + ending), what=what)
    if not unfinished.exists() or unfinished.stat().st_size == 0:
        return
    try:
        connect(unfinished, read_only=True).close()
    except BeingWrittenError:
        raise
    except TraceError:  # it was cut short, whatever is wrong with it
        if not is_duckdb(unfinished):
            raise ValueError(f"{unfinished} is no DuckDB file, not {what}; move it away") from None


def discard_partial(path: Path) -> None:
    """Delete the unfinished capture of `path`."""
    discard(partial_path(path))
    discard(fresh_path(partial_path(path)))


def discard_left_import(path: Path) -> None:
    """What an import of `path` left that was killed: it cannot go on, so it begins anew."""
    try:
        with connect(partial_path(path), read_only=True) as connection:
            rows = connection.execute("SELECT config ->> '$.import.format' FROM trace").fetchall()
    except (TraceError, duckdb.Error):  # there is none, or it is something else
        return
    if len(rows) == 1 and rows[0][0] is not None:
        discard_partial(path)


def discard_empty(partial: Path) -> None:
    """A capture that was ended before it stored anything has nothing to resume."""
    if is_empty(partial):
        discard(partial)
        discard(fresh_path(partial))


def is_empty(partial: Path) -> bool:
    """It holds no table, and nobody writes to it."""
    if not partial.is_file():
        return False
    try:
        with connect(partial, read_only=True) as connection:
            tables = connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall()
    except TraceError:  # being written, or something else
        return partial.stat().st_size == 0
    return tables == [(0,)]


def discard(unfinished: Path) -> None:
    """Delete an unfinished file, with what DuckDB keeps beside it."""
    for ending in ENDINGS:
        unfinished.with_name(unfinished.name + ending).unlink(missing_ok=True)
