"""Prompt files that tests write, and what is read of them."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.lines import DEFAULT_LIMITS, Limits
from data.prompts import read_documents

Write = Callable[[str, bytes | str], Path]


def groups(path: Path) -> list[str | None]:
    return [document.group for document in read_documents(path)]


def read(path: Path, limits: Limits = DEFAULT_LIMITS) -> list[tuple[str, str | None]]:
    return [(document.text, document.domain) for document in read_documents(path, limits)]


def parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path
