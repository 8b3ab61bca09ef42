"""Two traces of the same texts: the same rows, but for the last bits of floats."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from data.store import open_trace

APART = {"trace", "decision", "choice_list", "a_weight"}  # in description(), or in other tables
MOST = {"loss": 1e-5, "weight": 1e-5}  # that a column of floats differs by
SUMS = 1e-4  # any other one


def assert_alike(one: Path, other: Path, *, loss: float = MOST["loss"]) -> None:
    with open_trace(one) as first, open_trace(other) as second:
        tables = {row[0] for row in first.execute("SHOW TABLES").fetchall()} - APART
        assert {"document", "token", "routing", "gate", "coactivation", "transition"} < tables
        for table in sorted(tables):
            expected, given = (con.execute(f"FROM {table}").fetchnumpy() for con in (first, second))
            assert expected.keys() == given.keys()
            for column, values in expected.items():
                where = (table, column)
                if values.dtype.kind == "f":
                    most = (MOST | {"loss": loss}).get(column, SUMS)
                    if where == ("document_size", "loss"):  # of all its tokens
                        values, given[column] = (
                            each[column] / np.maximum(each["losses"], 1)
                            for each in (expected, given)
                        )
                    assert len(values) == len(given[column]), where
                    assert np.ma.allclose(given[column], values, rtol=0, atol=most), where
                else:
                    assert np.array_equal(given[column], values), where


def description(trace: Path) -> dict[str, Any]:
    """What the trace says of itself, but for when it was made."""
    with open_trace(trace) as con:
        cursor = con.execute("SELECT * EXCLUDE (trace_id, created_at) FROM trace")
        names = [column[0] for column in cursor.description]
        row = dict(zip(names, cursor.fetchall()[0], strict=True))
    return row | {"config": json.loads(row["config"])}
