"""Fixtures of the tests of data."""

from pathlib import Path

import pytest

from tests.data.prompt_files import Write
from tests.data.stored import write_two_documents


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "two.duckdb"
    write_two_documents(path)
    return path


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file
