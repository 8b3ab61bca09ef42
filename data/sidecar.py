"""Results computed later lie beside the trace as <name>.<what>.parquet; it never changes.

Each names the trace that it was made of and the version of its kind. Whoever wants one gets it
checked, or the reason why there is none: nobody else opens these files.
"""

import fcntl
import json
import os
import shlex
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from glob import escape
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data.outputs import MOMENT, unusual_kind
from data.parquet_sizes import large_group, row_groups, unpacked_size
from data.sidecar_kind import NUMBER_BYTES, Facts, Kind
from data.strict_json import json_text

LARGEST_RESULT = 1 << 28  # bytes that a result unpacks to, at most
AT_ONCE = 1 << 26  # bytes of numbers that are read before they are counted
ROWS_AT_ONCE = 1 << 17  # of a rest
METADATA_KEY = b"routescope"
DIGEST_KEY = b"routescope.sha256"  # of the value above: nothing else guards a Parquet footer
UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, RecursionError)


class Reason(StrEnum):
    NOT_MADE = "not made"
    OTHER_TRACE = "of another trace"
    OTHER_VERSION = "of another version"
    DAMAGED = "damaged"
    FOREIGN = "not ours"


REPLACED = {Reason.NOT_MADE, Reason.OTHER_TRACE, Reason.OTHER_VERSION}  # without a word
_LINES = {
    Reason.NOT_MADE: "{file} was not made yet: `{command}` makes it.",
    Reason.OTHER_TRACE: "{file} belongs to another trace and is not used: `{command}` makes it for "
    "this one.",
    Reason.OTHER_VERSION: "{file} is of another version of RouteScope and is not used: `{command}` "
    "makes it again.",
    Reason.DAMAGED: "{file} is damaged and is not used ({why}): `{command}` makes it again.",
    Reason.FOREIGN: "{file} is not a result of RouteScope and is left alone ({why}): move it away, "
    "and `{command}` makes the result.",
}


@dataclass(frozen=True, slots=True)
class Sidecar:
    frame: pd.DataFrame
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no result that may be shown."""

    reason: Reason
    line: str  # says why, and what makes it


class _UnusableError(ValueError):
    def __init__(self, reason: Reason, why: str = "") -> None:
        super().__init__(why)
        self.reason = reason


def sidecar_path(trace: Path, kind: Kind) -> Path:
    if trace.name in ("", ".."):  # a folder of shards, seen from inside
        trace = trace.resolve()
    name = trace.name.removesuffix(".duckdb")  # of a folder of shards, all of it
    return trace.with_name(f"{name}.{kind.name}.parquet")


def write_sidecar(
    trace: Path,
    kind: Kind,
    frame: pd.DataFrame,
    parameters: Mapping[str, object],
    *,
    of: Facts,
    rest: pd.DataFrame | None = None,
) -> Path:
    """Replaces the old one in one step: a reader meets either the old or the new, never half.

    `rest` are rows that pages do not read, of a kind that is parted.
    ValueError: a link, a folder or a file of somebody else's has its name, or it is too large.
    """
    path, table = sidecar_path(trace, kind), kind.table(frame, of)
    problem = kind.problem(table, of) or kind.problem_of_parameters(parameters)
    assert not problem, f"{path.name}: {problem}"
    assert rest is None or kind.parted
    if table.nbytes > LARGEST_RESULT:
        raise ValueError(
            f"{path.name} would have more than {LARGEST_RESULT >> 20} MB, which is not read again; "
            "capture fewer texts in one trace"
        )
    _require_ours(look_at(trace, kind, of=of))
    identity = {"trace_id": of.trace_id, "version": kind.version}
    told = json_text(identity | dict(parameters)).encode()
    digest = sha256(told).hexdigest()
    table = table.replace_schema_metadata({METADATA_KEY: told, DIGEST_KEY: digest})
    discard_leftovers(path)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pq.ParquetWriter(
                file, table.schema, compression="zstd", write_page_checksum=True
            ) as writer:
                writer.write_table(table, row_group_size=max(1, len(table)))
                for part in [] if rest is None else _parts(kind, rest, of):
                    writer.write_table(part)
            file.flush()
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _parts(kind: Kind, rest: pd.DataFrame, of: Facts) -> Iterator[pa.Table]:
    for first in range(0, len(rest), ROWS_AT_ONCE):
        table = kind.table(rest[first : first + ROWS_AT_ONCE], of)
        problem = kind.problem(table, of, read=False)
        assert not problem, problem
        yield table


def read_sidecar(trace: Path, kind: Kind, *, of: Facts) -> Sidecar | Absent:
    """The result of exactly this trace, in the columns of its kind."""
    try:
        with _opened(sidecar_path(trace, kind)) as file:
            parameters = _header(file, kind, of)
            table = _table(file, kind, of)
        if problem := kind.problem(table, of):
            _refuse(problem)
        return Sidecar(table.to_pandas(), parameters)
    except UNREADABLE as error:
        return _absent(trace, kind, error)


def read_whole(trace: Path, kind: Kind, *, of: Facts, columns: Sequence[str]) -> pa.Table | Absent:
    """These columns of all rows of a kind that is parted, texts as dictionaries."""
    assert kind.parted
    try:
        with _opened(sidecar_path(trace, kind)) as file:
            _header(file, kind, of)
            texts = [name for name, column in kind.columns(of).items() if column.is_text]
            parquet = pq.ParquetFile(file, page_checksum_verification=True, read_dictionary=texts)
            batches, size = list[pa.RecordBatch](), 0
            for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
                size += batch.nbytes
                _require_size(size)
                batches.append(batch)
        table = pa.Table.from_batches(batches).unify_dictionaries()
        if problem := kind.problem_of_columns(table, of):
            _refuse(problem)
        return table
    except UNREADABLE as error:
        return _absent(trace, kind, error)


def look_at(trace: Path, kind: Kind, *, of: Facts) -> dict[str, Any] | Absent:
    """The parameters of a result, without reading its rows."""
    try:
        with _opened(sidecar_path(trace, kind)) as file:
            return _header(file, kind, of)
    except UNREADABLE as error:
        return _absent(trace, kind, error)


def require_replaceable(trace: Path, *kinds: Kind, of: Facts) -> list[str]:
    """Before the work that makes these results: what is damaged and will be replaced, a line each.

    ValueError: a link, a folder or a file of somebody else's has the name of one.
    """
    present = [read_sidecar(trace, kind, of=of) for kind in kinds]
    for one in present:
        _require_ours(one)
    absent = [one for one in present if isinstance(one, Absent)]
    return [one.line for one in absent if one.reason is Reason.DAMAGED]


def remove_sidecars(trace: Path, kinds: Iterable[Kind]) -> None:
    """Of a trace that is deleted. Links are removed, not what they lead to; folders stay."""
    for kind in kinds:
        path = sidecar_path(trace, kind)
        discard_leftovers(path)
        if path.is_symlink() or path.is_file():
            path.unlink()


def discard_leftovers(path: Path) -> None:
    """Of writers that were killed: one that writes holds a lock, or has just begun."""
    for left in path.parent.glob(f"{escape(path.name)}*.partial"):
        if left.is_symlink() or (left.is_file() and _is_left(left)):
            left.unlink(missing_ok=True)


def _is_left(partial: Path) -> bool:
    with suppress(OSError), partial.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return time.time() - partial.stat().st_mtime > MOMENT
    return False


def _require_ours(present: Sidecar | dict[str, Any] | Absent) -> None:
    if isinstance(present, Absent) and present.reason is Reason.FOREIGN:
        raise ValueError(present.line)


def _opened(path: Path) -> BinaryIO:
    """A plain file: no link is followed, no pipe waited for."""
    if other := unusual_kind(path.lstat().st_mode):
        _refuse(f"it is {other}", Reason.FOREIGN)
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW))


def _header(file: BinaryIO, kind: Kind, of: Facts) -> dict[str, Any]:
    """Parameters that the trace and the kind agree with, of a file of the right columns and
    size."""
    parquet = pq.ParquetFile(file, page_checksum_verification=True)
    metadata = parquet.metadata.metadata or {}
    if METADATA_KEY not in metadata:
        _refuse("another program wrote it", Reason.FOREIGN)
    told = metadata[METADATA_KEY]
    parameters = json.loads(told, parse_constant=_no_number)
    if not isinstance(parameters, dict):
        _refuse("its parameters are no object")
    if DIGEST_KEY not in metadata or parameters.get("version") != kind.version:
        raise _UnusableError(Reason.OTHER_VERSION)
    if metadata[DIGEST_KEY] != sha256(told).hexdigest().encode():
        _refuse("its parameters were changed")
    if parameters.get("trace_id") != of.trace_id:
        raise _UnusableError(Reason.OTHER_TRACE)
    problem = (
        kind.problem_of_parameters(parameters)
        or kind.problem_of_rows(parquet.metadata.num_rows, of)
        or kind.problem_of_schema(parquet.schema_arrow, of)
        or large_group(parquet.metadata, bytes_a_row=kind.bytes_a_row(of))
    )
    if problem:
        _refuse(problem)
    read = islice(row_groups(parquet.metadata), 1 if kind.parted else None)
    _require_size(sum(group.total_byte_size for group in read))
    return parameters


def _table(file: BinaryIO, kind: Kind, of: Facts) -> pa.Table:
    """Texts are read as dictionaries, and written out once it is known how long they are then."""
    columns = kind.columns(of)
    texts = [name for name, column in columns.items() if column.is_text]
    parquet = pq.ParquetFile(file, page_checksum_verification=True, read_dictionary=texts)
    batches, size = list[pa.RecordBatch](), 0
    groups = range(min(1, parquet.num_row_groups) if kind.parted else parquet.num_row_groups)
    at_once = max(1, AT_ONCE // (NUMBER_BYTES * len(columns)))
    for batch in parquet.iter_batches(at_once, row_groups=list(groups)):
        size += unpacked_size(batch)
        _require_size(size)
        batches.append(batch)
    table = pa.Table.from_batches(batches, parquet.schema_arrow).replace_schema_metadata()
    return table.cast(pa.schema([(name, column.type) for name, column in columns.items()]))


def _require_size(unpacked: int) -> None:
    if unpacked > LARGEST_RESULT:
        _refuse(f"it unpacks to more than {LARGEST_RESULT >> 20} MB")


def _refuse(why: str, reason: Reason = Reason.DAMAGED) -> NoReturn:
    raise _UnusableError(reason, why)


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _absent(trace: Path, kind: Kind, error: BaseException) -> Absent:
    reason, why = Reason.DAMAGED, "it is cut or not Parquet"
    if isinstance(error, FileNotFoundError):
        reason = Reason.NOT_MADE
    elif isinstance(error, _UnusableError):
        reason, why = error.reason, str(error)
    elif isinstance(error, PermissionError):
        reason, why = Reason.FOREIGN, "it may not be read"
    command = f"{kind.command} {shlex.quote(str(trace))}"
    file = sidecar_path(trace, kind).name
    return Absent(reason, _LINES[reason].format(file=file, why=why, command=command))
