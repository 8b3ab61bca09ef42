"""Fixtures of the tests of data."""

from pathlib import Path

import pytest

from tests.data.stored import write_two_documents


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "two.duckdb"
    write_two_documents(path)
    return path
