"""A connection to one file: what it may reach, how long it may take, and what a failure is called.

DuckDB takes its files for trusted input, and a trace may come from anybody: no connection reaches
anything but its own file, and those it is told.
"""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakSet

import duckdb

from data.words import first_line

ISOLATED = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
}
Settings = dict[str, str | bool | int | float | list[str]]
WRITER_THREADS = min(16, os.cpu_count() or 1)
WRITER_SETTINGS: Settings = {
    **ISOLATED,
    "memory_limit": f"{max(256, 128 * WRITER_THREADS)}MB",  # with less, threads wait for memory
    "threads": str(WRITER_THREADS),
}
READER_MEMORY, PAGE_MEMORY = "1GB", "512MB"
READER_SETTINGS: Settings = {
    **ISOLATED,
    "threads": min(4, os.cpu_count() or 1),
    "perfect_ht_threshold": 20,  # bits: counts by domain, layer and expert take a third of the time
}
ENDINGS = ("", ".wal", ".wal.checkpoint", ".wal.recovery")  # the last two: killed while it tidied
MAGIC = slice(8, 12)  # bytes of a DuckDB file, after its checksum
INTERRUPT_AGAIN = 0.2  # seconds: a query that began after an interruption is interrupted too


_questions: WeakSet[duckdb.DuckDBPyConnection] = WeakSet()
_registering = threading.Lock()


class TraceError(ValueError):
    """A trace cannot be read, or not within the time given."""


class BeingWrittenError(TraceError):
    """Another process has it open."""


def connect(
    path: Path,
    *,
    read_only: bool,
    attachable: Sequence[Path] = (),
    memory: str = READER_MEMORY,
) -> duckdb.DuckDBPyConnection:
    """A writer may attach the files named; otherwise nothing but `path` is within reach. `memory`:
    of a reader."""
    for file in (path, *attachable):
        require_plain_path(file)
    try:
        return _reader(path, memory) if read_only else _writer(path, attachable)
    except duckdb.Error as error:
        raise _not_opened(path, error) from error


def memory_of(rows: bool) -> str:
    """Of a reader of every row, or of a page's."""
    return READER_MEMORY if rows else PAGE_MEMORY


def interruptible(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """`all_questions` has it."""
    with _registering:
        _questions.add(connection)
    return connection


def all_questions() -> list[duckdb.DuckDBPyConnection]:
    """What reads now, or may."""
    with _registering:
        return list(_questions)


def interrupt(questions: list[duckdb.DuckDBPyConnection]) -> None:
    """What they are asked now fails, so that its thread can heed a signal. DuckDB looks for signals
    in that thread alone, which waits for others of its threads, even to end the question."""
    for connection in questions:
        with suppress(duckdb.Error):  # it is closed
            connection.interrupt()


def require_plain_path(path: Path) -> None:
    """TraceError: DuckDB takes what follows a question mark for options."""
    if str(path) != ":memory:" and "?" in os.path.realpath(path):
        raise TraceError(
            f"{path} has a question mark in its path, which DuckDB cannot open; rename it"
        )


def _writer(path: Path, attachable: Sequence[Path]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(str(path), config=WRITER_SETTINGS)
    _restrict(connection, attachable)
    return connection


def reader_of(files: Sequence[Path], *, memory: str = READER_MEMORY) -> duckdb.DuckDBPyConnection:
    """Reaches these files and nothing else, and has opened none."""
    for file in files:
        require_plain_path(file)
    connection = duckdb.connect(":memory:", config=READER_SETTINGS | {"memory_limit": memory})
    try:
        _restrict(connection, files)
    except duckdb.Error:
        connection.close()
        raise
    return interruptible(connection)


def _reader(path: Path, memory: str) -> duckdb.DuckDBPyConnection:
    """Attached, because two connections to one path share what the first has opened: it may be
    another file by now."""
    connection = reader_of([path], memory=memory)
    try:
        connection.execute(f"ATTACH {quoted(path)} AS file (READ_ONLY)")
        connection.execute("USE file")
    except duckdb.Error:
        connection.close()
        raise
    return connection


def _restrict(connection: duckdb.DuckDBPyConnection, attachable: Sequence[Path]) -> None:
    reach = [f"{os.path.realpath(file)}{end}" for file in attachable for end in ENDINGS]
    connection.execute("SET enable_progress_bar = false")  # it takes `python -c` for somebody
    connection.execute("SET allowed_paths = $1", [reach])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def quoted(path: Path) -> str:
    """For ATTACH, which takes no bound values. Where the file is: a link is not within reach."""
    return "'" + os.path.realpath(path).replace("'", "''") + "'"


def _not_opened(path: Path, error: duckdb.Error) -> TraceError:
    if lock := re.search(r"lock is held in .*\(PID (\d+)\)", str(error)):
        return BeingWrittenError(
            f"{path} is being written by process {lock[1]}; wait until it has finished"
        )
    if not is_duckdb(path):
        return TraceError(f"{path} is not a DuckDB file")
    return TraceError(f"cannot open {path}: {first_line(error)}")


def is_duckdb(path: Path) -> bool:
    """By its own bytes: DuckDB has several words for it. True where they cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAGIC.stop)[MAGIC] == b"DUCK"
    except OSError:
        return True


@contextmanager
def reading(
    connection: duckdb.DuckDBPyConnection, path: Path, *, seconds: float
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Whatever DuckDB meets in the file, and a question that takes too long, is a TraceError."""
    done = threading.Event()
    watch = threading.Thread(target=_interrupt, args=(connection, seconds, done), daemon=True)
    watch.start()
    interruptible(connection)
    try:
        yield connection
    except duckdb.InterruptException as error:
        raise TraceError(
            f"reading {path} took longer than {seconds:.3g} s and was stopped: try again when the "
            "machine is less busy, or capture fewer texts in one trace"
        ) from error
    except duckdb.Error as error:
        raise TraceError(
            f"{path} cannot be read: {first_line(error)}; copy or capture it again"
        ) from error
    finally:
        done.set()
        watch.join()


def _interrupt(
    connection: duckdb.DuckDBPyConnection, seconds: float, done: threading.Event
) -> None:
    wait = seconds
    while not done.wait(wait):
        connection.interrupt()
        wait = INTERRUPT_AGAIN
