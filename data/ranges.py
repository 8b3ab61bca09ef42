"""Documents in parts that fit the memory of who reads them."""

from collections.abc import Iterator
from itertools import pairwise

import duckdb
import numpy as np


def document_ranges(
    con: duckdb.DuckDBPyConnection, query: str, *, at_once: int
) -> Iterator[tuple[int, int]]:
    """First and last of documents that follow one another and hold about so much together. The
    query gives doc_id, in order, and size."""
    sizes = con.execute(query).fetchnumpy()
    doc_id_N, end_N = np.asarray(sizes["doc_id"]), np.cumsum(sizes["size"], dtype=np.int64)
    splits = np.flatnonzero(np.diff(end_N // at_once)) + 1
    for low, high in pairwise([0, *splits.tolist(), len(doc_id_N)]):
        if low < high:
            yield int(doc_id_N[low]), int(doc_id_N[high - 1])
