"""What commands write: nothing is replaced that the command did not begin, and what cannot be
written is refused before any work."""

import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

LEFT_BEHIND = re.compile(r"\..+\.[a-z0-9_]{8}\.partial")  # as `new_folder` names it
BEGINNING = 5.0  # seconds that others wait, at most
MOMENT = 1.0  # seconds, in which a process has certainly locked the folder that it made
ANOTHER = "delete it or choose another name"


def require_new_file(path: Path) -> None:
    """Its folders are made with it."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file")
    if os.path.lexists(path):
        raise ValueError(f"{path} exists; {ANOTHER}")
    require_unfinished(partial_path(path))
    _require_place(path)


def partial_path(path: Path) -> Path:
    """What is written, until it is whole."""
    return path.with_name(path.name + ".partial")


def require_unfinished(path: Path, *, what: str = "an unfinished file") -> None:
    """A plain file, as an earlier run that was cut short leaves it, or nothing: links are not
    followed, pipes not waited for, folders not removed."""
    if os.path.lexists(path) and (other := unusual_kind(path.lstat().st_mode)):
        raise ValueError(f"{path} is {other}, not {what}; move it away")


def unusual_kind(mode: int) -> str | None:
    """In words; None of a plain file."""
    if stat.S_ISREG(mode):
        return None
    return {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder"}.get(
        stat.S_IFMT(mode), "no plain file"
    )


def require_new_folder(path: Path) -> None:
    """It may be there, but empty; its parents are made with it."""
    if os.path.lexists(path) and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not an empty folder; {ANOTHER}")
    _require_place(path)


def _require_place(path: Path) -> None:
    """What is there of the way to it is a folder that can be written to."""
    place = path.absolute()
    while not place.is_dir():
        if os.path.lexists(place):
            raise ValueError(f"{place} is not a folder, so {path} cannot be made in it")
        place = place.parent
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise ValueError(
            f"nothing can be written in {place} ({error.strerror}); choose another folder"
        ) from error


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` at the end of the block, or nothing at all.

    What killed processes left in the same place is removed first.
    """
    require_new_folder(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in _left_behind(out.absolute().parent):
        with _lock(left) as free:
            if free:
                shutil.rmtree(left)
    partial = Path(
        tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.absolute().parent)
    )
    with _lock(partial):
        try:
            partial.chmod(0o755)
            yield partial
            os.replace(partial, out)
        except BaseException:
            shutil.rmtree(partial)
            raise


def _left_behind(place: Path) -> list[Path]:
    return [
        path
        for path in place.iterdir()
        if LEFT_BEHIND.fullmatch(path.name)
        and path.is_dir()
        and not path.is_symlink()
        and time.time() - path.stat().st_mtime > MOMENT
    ]


@contextmanager
def only_writer(folder: Path, *, by: Path | None = None) -> Iterator[None]:
    """Of a folder that is filled in place: a second process is refused while this one lives. `by`:
    the file that tells, where others begin files of their own in the folder (alone_in)."""
    with _lock(by or folder) as free:
        if not free:
            raise ValueError(f"another process is writing to {folder}; wait for it or end it")
        yield


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Whether nobody else holds the folder; the system lets go when a process ends, however."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except OSError:
        free = False
    try:
        yield free
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While something is begun in it: who comes meanwhile waits a moment, and then sees it. For a
    folder that somebody fills (`only_writer`), or a disk that knows no locks, nobody waits long."""
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + BEGINNING
    with ExitStack() as held:
        while not held.enter_context(_lock(folder)) and time.monotonic() < until:
            held.pop_all().close()
            time.sleep(BEGINNING / 100)
        yield


def write_atomically(path: Path, text: str) -> None:
    """A reader meets the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    require_unfinished(partial)
    with partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.replace(partial, path)
