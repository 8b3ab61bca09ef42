"""Runs of the page Prompts, a folder each beside the traces: what links lead to, on any server.

A run appears whole or not at all, and survives the server. Its trace never changes; its title may.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app import folders
from app.error_line import line_of
from app.studies.reader import Sampling
from data.outputs import new_folder, write_atomically
from data.strict_json import json_text, read_object

KEPT, KEPT_GIGABYTES = 50, 2  # the newest runs, and what they may take together
TITLE_LENGTH = 80  # characters
ID = re.compile("[0-9a-f]{32}")
TRACE, FACTS, TEXTS = "run.duckdb", "run.json", "texts.json"
GONE = ".deleted"  # on its way from the disk
BEGUN, KEPT_BEGUN = ".begun", 10  # what was given to runs that have not ended; the newest
REMEDY = "delete its folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run. `folder` is where it lies, the other fields stand in its file."""

    folder: Path
    title: str
    created: str  # ISO, UTC
    model: str  # its name
    documents: int  # that were read
    asked: int  # documents that were given; not all are read where it was stopped
    tokens: int
    truncated_documents: int
    truncated_tokens: int
    notes: tuple[str, ...]  # of the file that was read
    sampling: Sampling | None
    chat: bool
    stopped: bool  # by the user, who kept what there was

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def path(self) -> Path:
        return self.folder / TRACE

    @property
    def is_kept(self) -> bool:
        """Not gone with the server."""
        return self.folder.parent.resolve() == folder().resolve()

    def text(self, doc_id: int) -> str:
        """As the user gave it. ValueError, OSError: it is not to be had."""
        text = read_object(self.folder / TEXTS, remedy=REMEDY).get(str(doc_id))
        if not isinstance(text, str):
            raise ValueError(f"{TEXTS} has no text {doc_id}; {REMEDY}")
        return text


def folder() -> Path:
    return folders.traces() / "prompt_runs"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(run: Run, texts: Mapping[int, str]) -> None:
    """Beside the trace, which is there."""
    write_atomically(run.folder / TEXTS, json_text({str(key): text for key, text in texts.items()}))
    _write_facts(run)


def _write_facts(run: Run) -> None:
    facts = {name: value for name, value in asdict(run).items() if name != "folder"}
    write_atomically(run.folder / FACTS, json_text(facts))


def keep(run: Run, out: Path) -> Run:
    """Move it there, whole or not at all, and delete the oldest for it. ValueError, OSError: why
    not; it stays then."""
    with new_folder(out) as folder:
        for name in (FACTS, TEXTS):
            shutil.copyfile(run.folder / name, folder / name)
        shutil.move(run.path, folder / TRACE)
    with suppress(OSError):  # they stay until the next run
        delete_old(out.parent)
    return replace(run, folder=out)


def begin(out: Path, given: Mapping[str, object]) -> None:
    """Keep what runs there until it has ended, should the server be killed; nothing, where nothing
    can be written."""
    with suppress(OSError, ValueError):
        write_atomically(_begun(out), json_text(given))
        files = sorted(out.parent.glob(f".*{BEGUN}"), key=lambda file: file.stat().st_mtime)
        for file in files[:-KEPT_BEGUN]:
            file.unlink(missing_ok=True)


def end(out: Path) -> None:
    with suppress(OSError):
        _begun(out).unlink(missing_ok=True)


def forget_begun() -> None:
    for file in folder().glob(f".*{BEGUN}"):
        file.unlink(missing_ok=True)


def has_begun(name: str) -> bool:
    """Whether the run of a link was begun and has not ended."""
    return ID.fullmatch(name) is not None and _begun(folder() / name).is_file()


def given_to(name: str) -> dict[str, Any]:
    """What begin() kept of it. ValueError, OSError: it is not to be had."""
    return read_object(_begun(folder() / name), remedy="delete it")


def find(name: str) -> Run | None:
    """The run of a link; None: there is none. ValueError: it is damaged."""
    if not ID.fullmatch(name) or not _is_folder(folder() / name):
        return None
    return _read(folder() / name)


def listed(place: Path | None = None) -> tuple[list[Run], list[str]]:
    """The newest first; and what lies among them and is none, with why. `place`: folder(), if not
    another one."""
    runs, others = [], []
    place = place or folder()
    for path in sorted(place.iterdir()) if place.is_dir() else []:
        if path.name.startswith("."):  # on its way here or away
            continue
        try:
            if not ID.fullmatch(path.name) or not _is_folder(path):
                raise ValueError("not a run")
            runs.append(_read(path))
        except (ValueError, OSError) as error:
            if path.exists():  # not deleted meanwhile
                others.append(f"{path.name!r:.80} ({_why(error, path)})")
    return sorted(runs, key=lambda run: (run.created, run.id), reverse=True), others


def rename(run: Run, title: str) -> Run:
    """ValueError: it is no title. OSError: it cannot be written."""
    words = in_one_line(title)
    if not 1 <= len(words) <= TITLE_LENGTH:
        raise ValueError(f"a title has 1 to {TITLE_LENGTH} characters, this one {len(words):,}")
    if not _is_folder(run.folder):
        raise ValueError("the run was deleted meanwhile")
    renamed = replace(run, title=words)
    _write_facts(renamed)
    return renamed


def delete(runs: Sequence[Run]) -> None:
    """Gone at once for all who look, then from the disk. OSError: it cannot be deleted."""
    for run in runs:
        gone = tempfile.mkdtemp(prefix=".", suffix=GONE, dir=run.folder.parent)
        with suppress(FileNotFoundError):  # somebody else was quicker
            os.replace(run.folder, gone)
    for place in {run.folder.parent for run in runs}:
        for path in place.glob(f".*{GONE}"):  # those of a process that was killed, too
            shutil.rmtree(path, ignore_errors=True)


def delete_old(place: Path) -> None:
    """All but the newest that there is room for, of which one always stays."""
    room, old = KEPT_GIGABYTES * 10**9, []
    for age, run in enumerate(listed(place)[0]):
        room -= _size(run.folder)
        if age and (age >= KEPT or room < 0):
            old.append(run)
    delete(old)


def in_one_line(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _begun(out: Path) -> Path:
    return out.with_name(f".{out.name}{BEGUN}")


def _read(path: Path) -> Run:
    facts = read_object(path / FACTS, remedy=REMEDY)
    types = {field.name: field.type for field in fields(Run) if field.name != "folder"}
    if facts.keys() != types.keys():
        raise ValueError(f"{FACTS} is not that of a run; {REMEDY}")
    for name, kind in types.items():
        if isinstance(kind, type) and type(facts[name]) is not kind:
            raise ValueError(f"{name} in {FACTS} is no {kind.__name__}; {REMEDY}")
    try:
        datetime.fromisoformat(facts["created"])
    except ValueError as error:
        raise ValueError(f"created in {FACTS} is no time; {REMEDY}") from error
    if not (path / TRACE).is_file():
        raise ValueError(f"it has no {TRACE}; {REMEDY}")
    return Run(
        folder=path,
        **facts | {"notes": _notes(facts["notes"]), "sampling": _sampling(facts["sampling"])},
    )


def _notes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"notes in {FACTS} is no list; {REMEDY}")
    return tuple(map(str, value))


def _sampling(value: Any) -> Sampling | None:
    try:
        return None if value is None else Sampling(**value)
    except TypeError as error:
        raise ValueError(f"sampling in {FACTS} cannot be read; {REMEDY}") from error


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return sum(file.stat().st_size for file in path.iterdir())
    return 0


def _why(error: Exception, path: Path) -> str:
    return line_of(error).replace(f"{path}/", "").replace(str(path), path.name)
