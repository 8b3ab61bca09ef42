"""The temporary folder of this server: unsaved runs, and which jobs it has.

A lock that the system lets go with the process says whose server is gone, so that the next one
cleans up after it and says which jobs its end ended.
"""

import atexit
import fcntl
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "routescope-app-"
LOCK, JOBS = "lock", "jobs.json"
KEPT = {LOCK, JOBS}  # of a server whose jobs nobody was told of yet


def claim(traces: Path) -> Path:
    """A folder for this server, after cleaning up after those of the past. `traces`: the folder
    that it serves; of jobs on others it does not speak, their own next server does."""
    root = Path(tempfile.gettempdir())
    ended = [title for folder in _abandoned(root) for title in _clean(folder, traces)]
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    lock = os.open(folder / f"{LOCK}.new", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # until the process ends
    os.rename(folder / f"{LOCK}.new", folder / LOCK)  # nobody meets it unlocked
    write_jobs(folder, traces, ended)
    atexit.register(leave, folder)
    return folder


def write_jobs(folder: Path, traces: Path, titles: Sequence[str]) -> None:
    partial = folder / f"{JOBS}.partial"
    described = {"traces": str(traces.resolve()), "jobs": list(titles)}
    partial.write_text(json.dumps(described), encoding="utf-8")
    os.replace(partial, folder / JOBS)


def read_jobs(folder: Path) -> tuple[str, list[str]]:
    """The folder of traces, and the titles; empty where there are none."""
    try:
        described = json.loads((folder / JOBS).read_text(encoding="utf-8"))
        return str(described["traces"]), [str(title) for title in described["jobs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "", []


def leave(folder: Path) -> None:
    """At the end of the process: jobs that it ended are told of by the next one."""
    if read_jobs(folder)[1]:
        _empty(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _abandoned(root: Path) -> Iterator[Path]:
    for folder in root.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another server may be cleaning, too
            status = folder.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                with _unclaimed(folder):
                    yield folder


@contextmanager
def _unclaimed(folder: Path) -> Iterator[None]:
    """OSError if a living process has it."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _clean(folder: Path, traces: Path) -> list[str]:
    """The jobs that its end ended, if they were on these traces."""
    served, titles = read_jobs(folder)
    if titles and served != str(traces.resolve()):
        _empty(folder)
        return []
    shutil.rmtree(folder, ignore_errors=True)
    return titles


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name in KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
