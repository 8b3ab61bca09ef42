"""The folders of traces and of trainings: which there are, and a cursor on a trace."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st
from duckdb import DuckDBPyConnection

from app import folders, parts, prompt_runs, server_folder
from app.folders import SHIPPED
from data.connection import TraceError, reading
from data.file_names import required_name
from data.shards import files_of, is_sharded, shard_paths
from data.training_folder import State, TrainingFolder

SHIPPED_MODEL = SHIPPED / "data" / "checkpoint"
SHIPPED_TRAININGS = SHIPPED / "data" / "stages"
DEMO = "demo"
PAGE_SECONDS, JOB_SECONDS = 60, 3600  # in which what a page or a job reads must have come


@dataclass(frozen=True, slots=True)
class TraceFile:
    """One finished trace; equal only while the file is the same, so it can key a cache."""

    path: Path
    modified_ns: int
    size: int
    part: str = ""  # of it, as app/parts.py names them; empty: the whole
    title: str = ""  # what it is called, if not as its file

    @property
    def name(self) -> str:
        name = self.title or self.path.name.removesuffix(".duckdb")
        return f"{name}, {parts.in_words(self.part)}" if self.part else name

    @property
    def identity(self) -> str:
        return f"{self.path}|{self.modified_ns}|{self.size}|{self.part}"


@dataclass(frozen=True, slots=True)
class Training:
    """A training as it was when the folders were listed."""

    name: str  # as pages and links call it
    folder: TrainingFolder
    state: State


def checkpoint() -> Path:
    """The model that prompts run through: the shipped one, or that of ROUTESCOPE_MODEL."""
    return Path(os.environ.get("ROUTESCOPE_MODEL", SHIPPED_MODEL))


def trainings() -> list[Training]:
    """Those that run first, then the model of prompts, then the shipped ones, then people's own."""
    model = "shipped" if checkpoint() == SHIPPED_MODEL else "model"
    named = {model: TrainingFolder(checkpoint())}
    for place, root, patterns in (
        ("stages", SHIPPED_TRAININGS, ["*"]),
        ("runs", folders.runs(), ["*", "*/*"]),
    ):
        for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
            named[f"{place}/{path.relative_to(root).as_posix()}"] = TrainingFolder(path)
    begun = [(name, files) for name, files in named.items() if files.log.is_file()]
    listed = [Training(name, files, files.state) for name, files in begun]
    return sorted(listed, key=lambda training: training.state != "running")


def trace_file(path: Path) -> TraceFile:
    """Or a folder of shards."""
    files = [path]
    if path.is_dir():
        files += [file for shard in shard_paths(path) for file in files_of(shard)]
    stats = [file.stat() for file in files]
    return TraceFile(path, max(one.st_mtime_ns for one in stats), sum(one.st_size for one in stats))


def run_file(run: prompt_runs.Run) -> TraceFile:
    """Of a run of the page Prompts."""
    return replace(trace_file(run.path), title=f"run “{run.title}”")


def traces() -> tuple[list[TraceFile], list[str]]:
    """Traces and folders of shards, the demo first, then the newest; and what is named like one and
    is none, with why."""
    files, others = [], []
    root = folders.traces()
    shards = [path for path in root.glob("*") if is_sharded(path)]
    for path in sorted([*root.glob("*.duckdb"), *shards]):
        try:
            path.name.encode()
            if path in shards and path.with_name(f"{path.name}.duckdb").exists():
                others.append(f"{path.name} (a trace has the name of this folder)")
            elif path in shards or stat.S_ISREG(path.stat().st_mode):
                files.append(trace_file(path))
            else:
                others.append(f"{path.name} (not a file)")
        except TraceError as error:
            others.append(f"{path.name} ({error})")
        except UnicodeEncodeError:
            others.append(f"{path.name!a} (a name that is not UTF-8)")
        except OSError as error:
            others.append(f"{path.name} ({error.strerror})")
    return sorted(files, key=lambda trace: (trace.name != DEMO, -trace.modified_ns)), others


def new_trace_path(name: str) -> Path:
    """Where a trace of that name goes: a plain file name inside the folder, not yet taken."""
    path = folders.traces() / f"{required_name(name)}.duckdb"
    if path.exists():
        raise ValueError(f"a trace named {name!r} exists; choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def save_trace(source: Path, name: str) -> None:
    """Copy a trace under a new name, whole or not at all. ValueError, OSError: why not."""
    path = new_trace_path(name)
    with tempfile.TemporaryDirectory(
        prefix=f".{path.stem}.", suffix=".saving", dir=path.parent
    ) as folder:
        shutil.copyfile(source, Path(folder) / path.name).rename(path)


@st.cache_resource(show_spinner=False)
def scratch() -> Path:
    """What jobs write and nobody saves: gone with the process."""
    return server_folder.claim(folders.traces())


def discard_scratch() -> None:
    """A server that is told to end ends without Python's exit."""
    server_folder.leave(scratch())


@st.cache_resource(max_entries=16, show_spinner=False, on_release=lambda con: con.close())
def _connection(identity: str, _path: Path, _part: str) -> DuckDBPyConnection:
    return parts.open_part(_path, _part, rows=False)


@contextmanager
def cursor(trace: TraceFile, *, seconds: float = PAGE_SECONDS) -> Iterator[DuckDBPyConnection]:
    """One process-wide connection a trace, a cursor of one's own for every use.

    TraceError: the trace cannot be read, or not in that time.
    """
    with (
        _connection(trace.identity, trace.path, trace.part).cursor() as con,
        reading(con, trace.path, seconds=seconds),
    ):
        yield con
