"""Where a trace lies, and what is unfinished of it: a capture as .partial, a merge as .merging."""

from pathlib import Path

from data.connection import ENDINGS, require_plain_path
from data.outputs import require_new_file


def partial_path(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def merging_path(path: Path) -> Path:
    return path.with_name(path.name + ".merging")


def require_free(path: Path) -> None:
    """Nothing finished or unfinished lies where a trace is to be written, and it can be made."""
    partial = partial_path(path)
    if path.suffix != ".duckdb":
        raise ValueError(f"a trace is a .duckdb file, {path.name} is not")
    require_plain_path(path)
    require_new_file(path)
    if partial.exists():
        raise ValueError(f"{partial} is an unfinished capture; add --resume or delete it")


def discard_partial(path: Path) -> None:
    """Delete the unfinished capture of `path`."""
    discard(partial_path(path))


def discard(unfinished: Path) -> None:
    """Delete an unfinished file, with what DuckDB keeps beside it."""
    for ending in ENDINGS:
        unfinished.with_name(unfinished.name + ending).unlink(missing_ok=True)
