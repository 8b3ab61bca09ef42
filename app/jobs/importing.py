"""Files that a user dropped on the page, as a job, into a trace of their own."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from app.jobs.worker import Progress
from app.studies.importing import Imported, write
from data.file_names import file_name
from data.importers.importing import Dump
from data.importers.source import Options

FILES = "files"  # below the folder of an import
MOST_FILES = 1_000
MEGABYTES = 256  # of all files


@dataclass(frozen=True, slots=True)
class Result:
    """A finished import: an unsaved trace."""

    path: Path
    imported: Imported


def keep(folder: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """Uploads as files of `folder`, in the folders that their names say. ValueError: too much, or
    two of one name."""
    if len(files) > MOST_FILES:
        raise ValueError(f"{len(files):,} files, at most {MOST_FILES:,}; import them by command")
    total = sum(len(content) for _, content in files)
    if total > MEGABYTES << 20:
        raise ValueError(
            f"{total / 2**20:,.0f} MB, at most {MEGABYTES:,}; `routescope import` takes files of "
            "any size"
        )
    for name, content in files:
        path = folder.joinpath(FILES, *map(file_name, PurePosixPath(name).parts))
        if path.exists():
            raise ValueError(f"two files are named {name!r:.80}; drop their folder instead")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def run(progress: Progress, folder: Path, options: Options, format: str | None) -> Result:
    """Of the files in `folder`, which is deleted then."""
    try:
        dump = Dump([folder / FILES], options, format=format)
        path = progress.folder / "import.duckdb"

        def tell(done: int, total: int) -> None:
            progress.tell(done=done >> 20, total=max(1, total >> 20), unit="MB")

        imported = write(dump, path, on_progress=tell, cancelled=progress.stop.is_set)
        return Result(path, imported)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
