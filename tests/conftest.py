"""Fixtures that several test files share."""

import os
import shutil
import signal

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: one thread each
    os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy and torch are imported

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import duckdb
import hypothesis
import pytest
import torch

from data.store import open_trace
from tests.traces import seen, write_empty_trace, write_tiny_trace

signal.signal(signal.SIGINT, signal.default_int_handler)  # as from a terminal: started in the
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # background, a process may ignore both

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}  # read when lm_eval is imported
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported


hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file described in tests/traces.py."""
    path = tmp_path_factory.mktemp("traces") / "tiny.duckdb"
    write_tiny_trace(path)
    return path


@pytest.fixture(scope="session")
def empty_trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traces") / "empty.duckdb"
    write_empty_trace(path)
    return path


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of the tiny model of a family of transformers, not to be changed."""
    from tests.model.huggingface.folders import save

    root = tmp_path_factory.mktemp("models")
    return cache(lambda name: save(root / name, name))


@pytest.fixture
def tiny(tiny_trace: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_trace(tiny_trace) as con:
        yield con


@pytest.fixture
def empty(empty_trace: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_trace(empty_trace) as con:
        yield con


@pytest.fixture
def writable(tiny_trace: Path, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A copy of the tiny trace to change: its tables are `file.<table>`."""
    with seen(Path(shutil.copy(tiny_trace, tmp_path))) as con:
        yield con
