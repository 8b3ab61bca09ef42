"""Traces that tests write whole or in part, and what lies in them."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from data.routing import RoutingBatch
from data.store import TraceStore, open_trace
from data.trace_format import LONG
from data.trace_views import CHOICES, GATES
from tests.routing_batches import batch_of, description, random_document

SUMMED = ("document_load", "document_k", "coactivation", "transition")
SIZES = ("document_size", "document_gate")
TABLES = ("trace", "layer", "document", "token", "expert", "gate", *SIZES, *SUMMED)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with open_trace(path) as connection:
        return connection.execute(query).fetchall()


def write_all(
    path: Path, batches: list[RoutingBatch], *, then: type[BaseException] | None = None
) -> None:
    with TraceStore.create(path, description()) as store:
        for batch in batches:
            store.write(batch)
        if then is not None:
            raise then


def write_two_documents(path: Path) -> None:
    """Document 3 has two tokens, document 4 one; 2 layers, 2 of 4 experts."""
    with TraceStore.create(path, description(experts=4)) as store:
        store.write(batch_of([3, 3], [[[0, 1], [2, 3]], [[1, 0], [2, 0]]]))
        store.write(batch_of([4], [[[0, 3], [1, 2]]]))


DOCUMENTS, TOKENS = 12, 6_000  # a transaction every three documents


def write_documents(
    path: Path, *, resume: bool = False, apart: bool = False, announce: bool = False
) -> None:
    begin = TraceStore.resume if resume else TraceStore.create
    with begin(path, description(), apart=apart) as store:
        for doc_id in sorted(set(range(DOCUMENTS)) - store.stored_doc_ids()):
            store.write(random_document(doc_id, tokens=TOKENS))
            if announce:
                print(doc_id, flush=True)


def killed_after(path: Path, document: int, *, resume: bool, apart: bool = False) -> None:
    """A process that writes, killed with SIGKILL once it has handed over `document`."""
    code = (
        "from pathlib import Path; from tests.data.stored import write_documents; "
        f"write_documents(Path({str(path)!r}), resume={resume}, apart={apart}, announce=True)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= document:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    columns = dict.fromkeys(TABLES, "*") | {"trace": "* EXCLUDE (trace_id, created_at)"}
    return {
        table: rows(path, f"SELECT {selected} FROM {table}") for table, selected in columns.items()
    } | {"routing": rows(path, "SELECT count(*), sum(hash(COLUMNS(*))::HUGEINT) FROM routing")}


def drop_format_8(connection: duckdb.DuckDBPyConnection) -> None:
    """What format 8 added: lists become rows again."""
    for statement in LONG:
        connection.execute(statement)
    connection.execute(f"INSERT INTO routing BY NAME {CHOICES.format('main')}")
    connection.execute(f"INSERT INTO gate BY NAME {GATES.format('main')}")
    for table in ("decision", "document_size", "document_gate"):
        connection.execute(f"DROP TABLE {table}")


def drop_format_7(connection: duckdb.DuckDBPyConnection) -> None:
    """What formats 7 and 8 added."""
    drop_format_8(connection)
    connection.execute("ALTER TABLE trace DROP COLUMN counts_only")
    for column in ("token_id", "text"):
        connection.execute(f"ALTER TABLE token ALTER {column} SET NOT NULL")
    for column in ("unit", "done"):
        connection.execute(f"ALTER TABLE finding DROP COLUMN {column}")


def drop_format_6(connection: duckdb.DuckDBPyConnection) -> None:
    """What formats 6 to 8 added."""
    drop_format_7(connection)
    connection.execute("DROP TABLE layer")
    connection.execute("ALTER TABLE token DROP COLUMN special")


def drop_format_5(connection: duckdb.DuckDBPyConnection) -> None:
    """What formats 5 to 8 added."""
    drop_format_6(connection)
    connection.execute("ALTER TABLE trace DROP COLUMN trace_id")
    connection.execute("DROP TABLE finding")


def as_format_7(path: Path) -> Path:
    """What the format before lists held."""
    with duckdb.connect(str(path)) as connection:
        drop_format_8(connection)
        connection.execute("UPDATE trace SET format_version = 7")
    return path


def as_format_6(path: Path) -> Path:
    """What the format before traces of counts and unknown tokens held."""
    with duckdb.connect(str(path)) as connection:
        drop_format_7(connection)
        connection.execute("UPDATE trace SET format_version = 6")
    return path


def as_format_5(path: Path) -> Path:
    """What the format before layers and special tokens held."""
    with duckdb.connect(str(path)) as connection:
        drop_format_6(connection)
        connection.execute("UPDATE trace SET format_version = 5")
    return path


def as_format_4(path: Path) -> Path:
    """What the format before ids and findings held."""
    with duckdb.connect(str(path)) as connection:
        drop_format_5(connection)
        connection.execute("UPDATE trace SET format_version = 4")
    return path


def as_format_3(path: Path) -> Path:
    """What the format before groups held."""
    with duckdb.connect(str(path)) as connection:
        drop_format_5(connection)
        connection.execute('ALTER TABLE document DROP COLUMN "group"')
        connection.execute("UPDATE trace SET format_version = 3")
    return path


@contextmanager
def open_elsewhere(path: Path) -> Iterator[int]:
    """While another process writes to the file: its id."""
    code = (
        "import duckdb, sys; connection = duckdb.connect(sys.argv[1]); "
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.communicate()


def interrupted(path: Path) -> None:
    with pytest.raises(KeyError):
        write_all(path, [random_document(0, tokens=5)], then=KeyError)
