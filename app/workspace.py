"""The folder of traces: which there are, and a cursor on one of them."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st
from duckdb import DuckDBPyConnection

from analysis.queries import TraceInfo
from data import store
from data.sidecar import read_sidecar

REPOSITORY = Path(__file__).resolve().parents[1]
DEMO = "demo"
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


def folder() -> Path:
    return Path(os.environ.get("ROUTESCOPE_TRACES", REPOSITORY / "traces"))


def checkpoint() -> Path:
    """The model that prompts run through: the shipped one, or that of ROUTESCOPE_MODEL."""
    return Path(os.environ.get("ROUTESCOPE_MODEL", REPOSITORY / "data" / "checkpoint"))


def trace_file(path: Path) -> TraceFile:
    found = path.stat()
    return TraceFile(path, found.st_mtime_ns, found.st_size)


def traces() -> list[TraceFile]:
    """The demo first, then the newest."""
    files = [trace_file(path) for path in folder().glob("*.duckdb")]
    return sorted(files, key=lambda trace: (trace.name != DEMO, -trace.modified_ns))


def new_trace_path(name: str) -> Path:
    """Where a trace of that name goes: a plain file name inside the folder, not yet taken."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"a trace name has 1 to 64 letters, digits, spaces, dots, dashes; found {name[:80]!r}"
        )
    path = folder() / f"{name}.duckdb"
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


def beside(trace: TraceFile, info: TraceInfo, what: str) -> pd.DataFrame | None:
    """What a command left beside this very trace; None if it did not, or it is damaged."""
    try:
        found = read_sidecar(trace.path, what)
    except ValueError:
        return None
    if found is None or found[1].get("created_at") != info.created_at.isoformat():
        return None
    return found[0]
