"""What a Parquet file unpacks to: a small file can hold one long text, or one a million times."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

OVERHEAD = 1 << 20  # of a row group


def row_groups(metadata: pq.FileMetaData) -> Iterator[pq.RowGroupMetaData]:
    """Whole ones only: to ask for a column of damaged metadata ends the process."""
    return map(metadata.row_group, range(metadata.num_row_groups))


def large_group(metadata: pq.FileMetaData, *, bytes_a_row: int) -> str:
    """The first row group that says it is larger than so many bytes a row, in words; empty if none.

    What the file says of itself; one that lies meets the limits of its reader.
    """
    for number, group in enumerate(row_groups(metadata), start=1):
        if group.total_byte_size > bytes_a_row * group.num_rows + OVERHEAD:
            return (
                f"row group {number} unpacks to {group.total_byte_size:,} bytes for "
                f"{group.num_rows:,} rows"
            )
    return ""


def unpacked_size(batch: pa.RecordBatch) -> int:
    """Bytes, with every text as often as it stands."""
    return sum(map(_column_size, batch.columns))


def _column_size(column: pa.Array) -> int:
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.take(pc.binary_length(column.dictionary), column.indices)
    return 8 * len(column) + (pc.sum(lengths).as_py() or 0)
