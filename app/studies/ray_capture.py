"""One capture by the workers of a Ray cluster, a model and a shard each.

Shards lie in a folder beside the trace that is asked for; the driver checks each as it comes,
merges them there, and the whole trace takes its place in one rename. What is done stays for
--resume.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis import queries
from app.studies import ray_worker
from app.studies.ray_cluster import Placement
from app.studies.ray_worker import LOST, Shard, Work, described_shard, doc_ids, table_of
from data.merge import merge_traces
from data.new_trace import difference
from data.outputs import only_writer
from data.routing import Document
from data.store import open_trace
from data.trace_paths import require_free

TASKS = 8  # of each worker, so that the last ones end together and little is lost with one
MOST_TASKS = 256  # of all workers, so that there are few shards
CHARACTERS = 4_000_000  # of a task
OURS = re.compile(rf"\d{{7}}-\d{{7}}\.[0-9a-f]{{8}}(\.duckdb.*|{re.escape(LOST)})")


@dataclass(slots=True)
class Shards:
    """What is captured so far: finished traces that share no document."""

    folder: Path
    finished: list[Shard] = field(default_factory=list)

    @property
    def documents(self) -> int:
        return sum(shard.documents for shard in self.finished)

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self.finished)

    def require_of(self, prompts: dict[str, str | int]) -> None:
        """ValueError: an earlier capture has read others."""
        for shard in self.finished:
            with open_trace(Path(shard.path)) as con:
                capture: Any = queries.trace_info(con).config["capture"]
            if capture["prompts"] != prompts:
                what = difference("prompts", capture["prompts"], prompts)
                raise ValueError(f"{shard.path} was begun with another {what}")

    def stored_doc_ids(self) -> set[int]:
        return {one for shard in self.finished for one in doc_ids(Path(shard.path))}

    def some(self) -> bool:
        """Finished ones, whether or not their workers have told."""
        return any(self.folder.glob("*.duckdb"))

    def lost_workers(self) -> int:
        return len(list(self.folder.glob(f"*{LOST}")))

    def discard_unfinished(self) -> None:
        self._discard({Path(shard.path) for shard in self.finished})

    @property
    def unfinished(self) -> Path:
        """Whose name says to who opens the folder that it does not hold all shards."""
        return self.folder / f"whole-{self.folder.stem}.partial"

    def discard(self) -> None:
        self._discard(set())
        self.unfinished.unlink(missing_ok=True)
        with suppress(OSError):  # somebody else keeps something there
            self.folder.rmdir()

    def _discard(self, kept: set[Path]) -> None:
        for path in self.folder.glob("*"):
            if OURS.fullmatch(path.name) and path not in kept:
                path.unlink(missing_ok=True)


def shards_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.shards")


@contextmanager
def shards_of(out: Path, *, resume: bool) -> Iterator[Shards]:
    """For one driver. ValueError: there are some that an earlier capture has finished, or with
    `resume` there are none."""
    require_free(out)
    folder = shards_folder(out)
    if resume and not folder.is_dir():
        raise ValueError(f"there is no {folder} to continue; leave out --resume")
    folder.mkdir(parents=True, exist_ok=True)
    shards = Shards(folder)
    shards.unfinished.touch()
    with only_writer(folder, by=shards.unfinished):
        shards = found_in(folder)
        if shards.finished and not resume:
            raise ValueError(f"{folder} holds an unfinished capture; add --resume or delete it")
        shards.discard_unfinished()
        try:
            yield shards
        finally:
            if not shards.some():
                shards.discard()


def found_in(folder: Path) -> Shards:
    """Of two with one document, the first counts."""
    shards, stored = Shards(folder), set[int]()
    for path in sorted(folder.glob("*.duckdb")):
        if OURS.fullmatch(path.name) and stored.isdisjoint(found := doc_ids(path)):
            stored |= set(found)
            shards.finished.append(described_shard(path))
    return shards


def capture_shards(
    ray: Any,
    work: Work,
    documents: Iterable[Document],
    shards: Shards,
    place: Placement,
    *,
    total: int,
    on_progress: Callable[[Shards], None],
) -> None:
    """Read what is not stored. ValueError: a worker refuses, as what it finds of another capture,
    or was lost too often at one place."""
    all_read = bool(shards.finished) and shards.documents == total
    if all_read:  # for a worker to find again: the options are compared there
        shards.finished.pop(0)
    stored = shards.stored_doc_ids()
    fresh = (document for document in documents if document.doc_id not in stored)
    parts = max(place.workers, min(TASKS * place.workers, MOST_TASKS))
    size = -(-(total - len(stored)) // (1 if all_read else parts))
    tables = [ray.put(table_of(task)) for task in tasks(fresh, size=size)]
    if not tables:
        return
    dataset = ray.data.from_arrow_refs(tables).map_batches(
        ray_worker.Worker,
        fn_constructor_args=(work,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            size=min(place.workers, len(tables)), max_tasks_in_flight_per_actor=1
        ),
        num_cpus=place.cpus,
        num_gpus=place.gpus or None,
    )
    try:
        for row in dataset.iter_rows():
            shard = Shard(**row)
            if shard.error:
                raise ValueError(shard.error)
            require_as_written(shard)
            shards.finished.append(shard)
            on_progress(shards)
    except ray.exceptions.RayTaskError:  # a bug of ours has its traceback
        raise
    except ray.exceptions.RayError as error:
        raise ValueError(f"Ray lost its workers: {str(error).splitlines()[0][:300]}") from error


def tasks(documents: Iterable[Document], *, size: int) -> Iterator[list[Document]]:
    """Of so many documents, or fewer long ones."""
    task: list[Document] = []
    characters = 0
    for document in documents:
        if task and (len(task) == size or characters + len(document.text) > CHARACTERS):
            yield task
            task, characters = [], 0
        task.append(document)
        characters += len(document.text)
    if task:
        yield task


def require_there(shard: Shard) -> Path:
    path = Path(shard.path)
    if not path.is_file() or path.stat().st_size != shard.bytes:
        raise ValueError(
            f"documents {shard.first} to {shard.last}, which {shard.host} wrote to {path}, are not "
            "there as it wrote them; give --out in a folder that all machines of the cluster share"
        )
    return path


def require_as_written(shard: Shard) -> None:
    with require_there(shard).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
            raise ValueError(f"{shard.path} is not as {shard.host} wrote it; delete it")


def merge_shards(shards: Shards, out: Path, *, total: int) -> None:
    """All of them become `out`, or nothing."""
    paths = [require_there(shard) for shard in sorted(shards.finished, key=lambda one: one.first)]
    if shards.documents != total:
        raise ValueError(f"{shards.documents:,} of {total:,} documents are in {shards.folder}")
    whole = paths[0]
    if len(paths) > 1:
        whole = shards.folder / out.name
        whole.unlink(missing_ok=True)  # of a driver that was lost before it moved it
        merge_traces(paths, whole)
    require_free(out)
    whole.rename(out)
    shards.discard()
