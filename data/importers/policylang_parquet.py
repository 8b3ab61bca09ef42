"""Rows of moe-policylang in Parquet, with names spelled out and without a header.

R = rows (what one token chose in one layer), K = experts per token.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.importers.policylang_rows import UNKNOWN_TOKEN, Entries, phase_of
from data.importers.source import DumpFile, Meter

MAGIC = b"PAR1"
ROWS = 65_536  # read at once
NUMBERS = ("prompt_id", "token_idx", "layer_idx")
EXPERTS, SCORES = "selected_experts", "router_scores"
OPTIONAL = (SCORES, "token_id", "phase", "token_loss", "domain_tag")
KINDS = {
    SCORES: pa.types.is_floating,
    "token_id": pa.types.is_integer,
    "phase": pa.types.is_string,
    "token_loss": pa.types.is_floating,
    "domain_tag": pa.types.is_string,
    EXPERTS: pa.types.is_integer,
} | dict.fromkeys(NUMBERS, pa.types.is_integer)
MOST_K = 4_096


@contextmanager
def readable(file: DumpFile) -> Iterator[None]:
    """Whatever Arrow meets in the file is a ValueError that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        said = " ".join(str(error)[:200].split()) or type(error).__name__
        raise ValueError(f"{file.name} is not readable Parquet ({said}); copy it again") from error


def recognizes(file: DumpFile) -> bool:
    try:
        return {*NUMBERS, EXPERTS} <= set(_schema(file).names)
    except ValueError:
        return False


def top_k(file: DumpFile) -> int:
    """Of the first row."""
    for batch in _batches(file, Meter(), [EXPERTS], rows=1):
        length = pc.list_value_length(batch.column(0))[0].as_py()
        if not length or length > MOST_K:
            raise ValueError(f"{file.name}: row 0 has {length} {EXPERTS}; 1 or more are expected")
        return int(length)
    raise ValueError(f"{file.name} has no rows")


def entries(file: DumpFile, meter: Meter, *, top_k: int) -> Iterator[Entries]:
    schema = _schema(file)
    known = [name for name in OPTIONAL if name in schema.names]
    first = 0
    for batch in _batches(file, meter, [*NUMBERS, EXPERTS, *known]):
        with readable(file):
            yield _entries(batch, f"{file.name}: rows from {first}", top_k)
        first += len(batch)


def _schema(file: DumpFile) -> pa.Schema:
    with readable(file), pq.ParquetFile(file.path, arrow_extensions_enabled=False) as opened:
        return opened.schema_arrow


def _batches(
    file: DumpFile, meter: Meter, columns: list[str], *, rows: int = ROWS
) -> Iterator[pa.RecordBatch]:
    """ValueError: a column is missing, or of another type."""
    schema = _schema(file)
    for name in columns:
        if name not in schema.names:
            raise ValueError(f"{file.name} has no column {name!r}")
        kind = schema.field(name).type
        inner = kind.value_type if name in (EXPERTS, SCORES) and pa.types.is_list(kind) else kind
        if not KINDS[name](inner) or (name in (EXPERTS, SCORES)) != pa.types.is_list(kind):
            raise ValueError(f"{file.name}: column {name!r} is {kind}, which is not expected")
    with (
        readable(file),
        pq.ParquetFile(
            file.path, memory_map=True, pre_buffer=False, arrow_extensions_enabled=False
        ) as opened,
    ):
        total = max(1, opened.metadata.num_rows)
        for batch in opened.iter_batches(batch_size=rows, columns=columns, use_threads=False):
            batch.validate(full=True)
            meter.advance(file.size * len(batch) // total)
            if len(batch):
                yield batch


def _entries(batch: pa.RecordBatch, where: str, top_k: int) -> Entries:
    rows = len(batch)
    prompt_R, token_R, layer_R = (_numbers(batch.column(name), where, name) for name in NUMBERS)
    for name, values_R in zip(NUMBERS, (prompt_R, token_R, layer_R), strict=True):
        if values_R.min() < 0 or values_R.max() >= 2**31:
            raise ValueError(
                f"{where}: {name} from {values_R.min()} to {values_R.max()}; 0 and more is expected"
            )
    ids_RK = _lists(batch.column(EXPERTS), where, EXPERTS, top_k).astype(np.int64)
    weights_RK = (
        _lists(batch.column(SCORES), where, SCORES, top_k).astype(np.float32)
        if SCORES in batch.schema.names
        else np.full((rows, top_k), np.nan, np.float32)
    )
    return Entries(
        prompt_R,
        token_R,
        layer_R,
        ids_RK,
        weights_RK,
        _optional(batch, "token_id", UNKNOWN_TOKEN, np.int64),
        np.array([phase_of(name, where) for name in _texts(batch, "phase")], np.uint8),
        _optional(batch, "token_loss", np.nan, np.float32),
        _texts(batch, "domain_tag"),
    )


def _numbers(column: pa.Array, where: str, name: str) -> np.ndarray:
    if column.null_count:
        raise ValueError(f"{where}: column {name!r} has empty values")
    return column.cast(pa.int64()).to_numpy()


def _lists(column: pa.ListArray, where: str, name: str, length: int) -> np.ndarray:
    values = column.flatten()
    lengths = pc.list_value_length(column)
    if column.null_count or values.null_count or pc.any(pc.not_equal(lengths, length)).as_py():
        raise ValueError(
            f"{where}: column {name!r} has empty values, or other lengths than {length}, which the "
            "first row has"
        )
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(-1, length)


def _optional(batch: pa.RecordBatch, name: str, fill: float, dtype: type) -> np.ndarray:
    if name not in batch.schema.names:
        return np.full(len(batch), fill, dtype)
    column = batch.column(name)
    filled = pc.fill_null(column, pa.scalar(fill, column.type))
    return np.asarray(filled.to_numpy(zero_copy_only=False)).astype(dtype)


def _texts(batch: pa.RecordBatch, name: str) -> list[str | None]:
    if name not in batch.schema.names:
        return [None] * len(batch)
    return list(batch.column(name).to_pylist())
