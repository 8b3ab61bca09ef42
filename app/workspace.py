"""The folders of traces and of trainings: which there are, and a cursor on a trace."""

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st
from duckdb import DuckDBPyConnection

from app import folders
from app.folders import SHIPPED
from data import store

SHIPPED_MODEL = SHIPPED / "data" / "checkpoint"
SHIPPED_TRAININGS = SHIPPED / "data" / "stages"
DEMO = "demo"
TRAINING_LOG = "train_log.jsonl"
SILENCE = 120  # seconds after the last line until a training counts as stopped
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


@dataclass(frozen=True, slots=True)
class TraceFile:
    """One finished trace; equal only while the file is the same, so it can key a cache."""

    path: Path
    modified_ns: int
    size: int

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def identity(self) -> str:
        return f"{self.path}|{self.modified_ns}|{self.size}"


@dataclass(frozen=True, slots=True)
class Training:
    """A folder of `routescope train`."""

    name: str  # as pages and links call it
    path: Path
    state: Literal["running", "stopped", "finished"]

    def identity(self, *names: str) -> str:
        """Equal only while these files of the folder are the same, so it can key a cache."""
        found = [path.stat() for name in names if (path := self.path / name).exists()]
        return f"{self.path}|{[(file.st_mtime_ns, file.st_size) for file in found]}"


def checkpoint() -> Path:
    """The model that prompts run through: the shipped one, or that of ROUTESCOPE_MODEL."""
    return Path(os.environ.get("ROUTESCOPE_MODEL", SHIPPED_MODEL))


def trainings() -> list[Training]:
    """Those that run first, then the model of prompts, then the shipped ones, then people's own."""
    model = "shipped" if checkpoint() == SHIPPED_MODEL else "model"
    logs = {model: checkpoint() / TRAINING_LOG}
    for place, root, patterns in (
        ("stages", SHIPPED_TRAININGS, ["*"]),
        ("runs", folders.runs(), ["*", "*/*"]),
    ):
        for path in sorted(log for part in patterns for log in root.glob(f"{part}/{TRAINING_LOG}")):
            logs[f"{place}/{path.parent.relative_to(root).as_posix()}"] = path
    found = [_training(name, log) for name, log in logs.items() if log.is_file()]
    return sorted(found, key=lambda training: training.state != "running")


def _training(name: str, log: Path) -> Training:
    if (log.parent / "config.json").is_file():
        return Training(name, log.parent, "finished")
    silent = time.time() - log.stat().st_mtime > SILENCE
    return Training(name, log.parent, "stopped" if silent else "running")


def trace_file(path: Path) -> TraceFile:
    found = path.stat()
    return TraceFile(path, found.st_mtime_ns, found.st_size)


def traces() -> list[TraceFile]:
    """The demo first, then the newest."""
    files = [trace_file(path) for path in folders.traces().glob("*.duckdb")]
    return sorted(files, key=lambda trace: (trace.name != DEMO, -trace.modified_ns))


def new_trace_path(name: str) -> Path:
    """Where a trace of that name goes: a plain file name inside the folder, not yet taken."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"a trace name has 1 to 64 letters, digits, spaces, dots, dashes; found {name[:80]!r}"
        )
    path = folders.traces() / f"{name}.duckdb"
    if path.exists():
        raise ValueError(f"a trace named {name!r} exists; choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@st.cache_resource(show_spinner=False)
def scratch() -> Path:
    """Traces of runs that nobody saved: gone with the process."""
    holder = tempfile.TemporaryDirectory(prefix="routescope-")
    _HOLDERS.append(holder)
    return Path(holder.name)


_HOLDERS: list[tempfile.TemporaryDirectory] = []  # deleted at exit


@st.cache_resource(max_entries=16, show_spinner=False, on_release=lambda con: con.close())
def _connection(identity: str, _path: Path) -> DuckDBPyConnection:
    return store.open_trace(_path)


@contextmanager
def cursor(trace: TraceFile) -> Iterator[DuckDBPyConnection]:
    """One process-wide connection a trace, a cursor of one's own for every use."""
    with _connection(trace.identity, trace.path).cursor() as con:
        yield con
