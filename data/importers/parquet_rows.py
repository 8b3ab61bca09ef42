"""Tables of our Parquet export, read in order and piece by piece.

T = tokens, R = rows of a table.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.exports.tables import columns
from data.importers.source import Meter

ROWS = 131_072  # read at once
KEY = ("doc_id", "position")  # of a token
FEW_ROWS = {"document": 64, "token": 16_384}  # which hold texts


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Whatever Arrow meets in the file is a ValueError that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{name} is not readable Parquet ({said}); export again") from error


class Table:
    """A file of the export. Its columns are those that a trace has."""

    def __init__(self, path: Path, name: str, table: str) -> None:
        """ValueError: it is not Parquet, or has other columns."""
        self.path, self.name, self.table = path, name, table
        self.size = path.stat().st_size
        with readable(name), pq.ParquetFile(path, arrow_extensions_enabled=False) as file:
            self.rows = file.metadata.num_rows
            schema = file.schema_arrow
        self.schema = columns()[table]
        for field in self.schema:
            place = schema.get_field_index(field.name)
            found = str(schema.field(place).type) if place >= 0 else "missing"
            if found != str(field.type):
                raise ValueError(
                    f"{name}: column {field.name!r} is {found}, not {field.type}; export again"
                )

    def batches(self, meter: Meter, only: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """Its rows; `only` some columns, else all."""
        names = list(only or self.schema.names)
        reading = pq.ParquetFile(
            self.path, memory_map=True, pre_buffer=False, arrow_extensions_enabled=False
        )
        with readable(self.name), reading as file:
            rows = FEW_ROWS.get(self.table, ROWS)
            for batch in file.iter_batches(batch_size=rows, columns=names):
                self._require_values(batch, names)
                yield batch
                meter.advance(self.size * len(batch) // max(1, self.rows))

    def whole(self, meter: Meter | None = None) -> pa.Table:
        """Of a small one."""
        rows = [batch.cast(self.schema) for batch in self.batches(meter or Meter())]
        return pa.Table.from_batches(rows, schema=self.schema)

    def _require_values(self, batch: pa.RecordBatch, names: Sequence[str]) -> None:
        batch.validate(full=True)  # texts that are not UTF-8, too
        for name in names:
            if batch.column(name).null_count and not self.schema.field(name).nullable:
                raise ValueError(f"{self.name}: column {name!r} has empty values; export again")


def token_keys(rows: pa.RecordBatch | dict[str, np.ndarray]) -> np.ndarray:
    """One number for document and position."""
    doc_id, position = (np.asarray(rows[name]) for name in KEY)
    return doc_id.astype(np.uint64) << np.uint64(32) | position


def starts(values: np.ndarray) -> np.ndarray:
    """Where runs of equal values begin."""
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.concatenate([[0], changes]) if len(values) else changes


class RowsOfTokens:
    """Rows that belong to tokens, and lie in the order of these: handed out as tokens come."""

    def __init__(self, table: Table, meter: Meter) -> None:
        self.table = table
        self._rest = table.batches(meter)
        self._held: dict[str, np.ndarray] | None = None

    def of(self, key_T: np.ndarray) -> dict[str, np.ndarray]:
        """The next rows, as far as they belong to these tokens; `token` says to which. Empty: none
        does."""
        order_T = np.argsort(key_T, kind="stable")
        sorted_T = key_T[order_T]
        found: list[dict[str, np.ndarray]] = []
        while self._hold():
            assert self._held is not None
            key_R = token_keys(self._held)
            first = starts(key_R)
            place = np.minimum(np.searchsorted(sorted_T, key_R[first]), len(sorted_T) - 1)
            others = np.flatnonzero(sorted_T[place] != key_R[first])
            runs = int(others[0]) if len(others) else len(first)
            end = int(first[runs]) if runs < len(first) else len(key_R)
            taken = {name: self._held[name][:end] for name in self._held if name not in KEY}
            if end:
                token_R = np.repeat(order_T[place[:runs]], np.diff(first[:runs], append=end))
                found.append(taken | {"token": token_R})
            if end < len(key_R):
                self._held = {name: values[end:] for name, values in self._held.items()}
                break
            self._held = None
        names = found[0] if found else ()
        return {name: np.concatenate([rows[name] for rows in found]) for name in names}

    def require_end(self) -> None:
        """ValueError: rows are left that belong to none of the tokens, or lie elsewhere."""
        if self._hold():
            assert self._held is not None
            raise ValueError(
                f"{self.table.name}: rows of document {self._held['doc_id'][0]}, position "
                f"{self._held['position'][0]} are not where that token is in token.parquet; "
                "export again"
            )

    def _hold(self) -> bool:
        """Whether there are more rows."""
        while self._held is None:
            batch = next(self._rest, None)
            if batch is None:
                return False
            if len(batch):
                self._held = {
                    name: batch.column(name).to_numpy(zero_copy_only=False)
                    for name in batch.schema.names
                }
        return True
