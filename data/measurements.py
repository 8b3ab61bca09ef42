"""Rows that lie beside a model as a CSV file, checked before anything is drawn of them."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

LARGEST = 2**26  # bytes


def read_measurements(
    path: Path, *, names: Collection[str], numbers: Collection[str], optional: Collection[str] = ()
) -> pd.DataFrame:
    """Every row has its names and its numbers, those of `optional` perhaps empty."""
    again = "delete it, or restore it with its model"
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path.stat().st_size:,} bytes are too many")
        table = pd.read_csv(path)
    except (ValueError, OSError, RecursionError) as error:
        line = (str(error).splitlines() or ["unreadable"])[0]
        raise ValueError(f"{path} cannot be read: {line}; {again}") from error
    wanted = {*names, *numbers, *optional}
    if missing := sorted(wanted - set(table)):
        raise ValueError(f"{path} has no column {', '.join(missing)}; {again}")
    for name in names:
        if not table[name].map(lambda value: isinstance(value, str)).all():
            raise ValueError(f"{path} has a row without a text in {name}; {again}")
    for name in wanted - set(names):
        table[name] = _numbers(path, table[name], empty=name in optional, again=again)
    return table


def _numbers(path: Path, column: pd.Series, *, empty: bool, again: str) -> pd.Series:
    try:
        values = pd.to_numeric(column, errors="coerce").astype(float)
    except OverflowError as error:
        raise ValueError(f"{path} has a number too large in {column.name}; {again}") from error
    wrong = column.notna() & (values.isna() | np.isinf(values))
    if not empty:
        wrong |= column.isna()
    if wrong.any():
        bad = column[wrong].iloc[0]
        raise ValueError(f"{path} has {str(bad)[:40]!r} in {column.name}, no number; {again}")
    return pd.to_numeric(column)
