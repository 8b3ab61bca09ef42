"""Rows of prompt files in Parquet: sizes are checked in the metadata before anything is read."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.lines import Limits, check_rows
from data.parquet_sizes import large_group, row_groups
from data.prompt_rows import Notes, Unchecked, places_of
from data.words import first_line

ROWS = 256  # read at once
BYTES = 4  # of a character, at most
AT_ONCE = 1 << 28  # bytes of rows that are no dictionary: each is at most as long as its row group
EXTENSION = b"ARROW:extension:name"  # of a type that this process may know or not


def parquet_rows(path: Path, limits: Limits, notes: Notes) -> Iterator[Unchecked]:
    """A row at a time from dictionaries: a small file can hold one long text a million times."""
    try:
        with pq.ParquetFile(path, memory_map=True, arrow_extensions_enabled=False) as file:
            schema = file.schema_arrow
            places = places_of(tuple(schema.names), path.name, notes)
        wanted = [schema.names[place] for place in places if place is not None]
        for name, is_text in zip(wanted, (True, False, False), strict=False):
            check_type(schema.field(name), path.name, is_text=is_text)
            check_sizes(file.metadata, path.name, limits)
        number = 0
        for batch in batches(path, wanted):
            check_rows(number + len(batch), path.name, limits)
            fields = [cells_of(batch, schema, place) for place in places]
            for cells in zip(*fields, strict=True):
                number += 1
                text, domain, group = values(cells, f"{path.name}:{number}")
                yield number, text, domain, group
    except MemoryError as error:
        raise ValueError(f"{path.name} needs more memory than it may take; split it") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(
            f"{path.name} is not readable Parquet ({first_line(error)}); write it again"
        ) from error


def batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """As dictionaries; from where Arrow makes none, as of some encodings, as they stand and fewer
    at once."""
    read = partial(pq.ParquetFile, path, memory_map=True, pre_buffer=False)
    given = 0
    try:
        with read(read_dictionary=columns, arrow_extensions_enabled=False) as file:
            for batch in file.iter_batches(batch_size=ROWS, columns=columns, use_threads=False):
                yield batch
                given += len(batch)
    except OSError:
        with read(arrow_extensions_enabled=False) as file:
            largest = max(group.total_byte_size for group in row_groups(file.metadata))
            rows = max(1, min(ROWS, AT_ONCE // max(1, largest)))
            for batch in file.iter_batches(batch_size=rows, columns=columns, use_threads=False):
                known = min(given, len(batch))
                given -= known
                yield batch.slice(known)


def check_type(field: pa.Field, file_name: str, *, is_text: bool) -> None:
    """Strings of any width, or nothing at all; labels may be whole numbers. Numbers that stand for
    something else, such as the periods of pandas, are neither."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    kind = kind.storage_type if isinstance(kind, pa.JsonType) else kind
    if any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_null,
        )
    ):
        return
    if (
        not is_text
        and EXTENSION not in (field.metadata or {})
        and any(
            test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
        )
    ):
        return
    called = (field.metadata or {}).get(EXTENSION, str(field.type).encode()).decode()
    wanted = "strings" if is_text else "strings or whole numbers"
    raise ValueError(
        f"{file_name}: column {field.name!r} is {called}, not {wanted}; write it as text"
    )


def check_sizes(metadata: pq.FileMetaData, name: str, limits: Limits) -> None:
    if metadata.num_rows > limits.rows:
        raise ValueError(
            f"{name}: {metadata.num_rows:,} rows, at most {limits.rows:,}; split the file"
        )
    if large := large_group(metadata, bytes_a_row=BYTES * limits.characters):
        raise ValueError(
            f"{name}: {large}; a text has at most {limits.characters:,} characters: split it"
        )


def cells_of(batch: pa.RecordBatch, schema: pa.Schema, place: int | None) -> pa.Array:
    if place is None:
        return pa.nulls(len(batch))
    cells = batch.column(schema.names[place])
    return cells.storage if isinstance(cells, pa.ExtensionArray) else cells


def values(cells: tuple[pa.Scalar, ...], where: str) -> list[object]:
    try:
        return [cell.as_py() for cell in cells]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where}: not UTF-8 (byte {error.object[error.start]:#04x}); write the text as UTF-8"
        ) from error
