"""What a worker of `routescope capture --ray` does: it reads the texts that it is given into a
trace of their own, a shard, and returns what it has done.

A shard is named by its first and its last document, and by a number of its own: whoever else is
given the same texts, as when a worker was lost, writes another file or finds the finished one.
"""

import hashlib
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis import queries
from app.error_line import is_foreseen, line_of
from app.kept import Kept
from app.studies.reader import Loading, Sampling, Tracer, load_tracer
from data.groups import Grouping
from data.new_trace import TraceDescription
from data.routing import Document
from data.store import TraceStore, open_trace, require_same

ATTEMPTS = 3  # at the same texts: then it is not chance that loses their workers
LOST = ".lost"  # of the record of a worker that did not end
COLUMNS = pa.schema(
    [
        ("doc_id", pa.uint32()),
        ("text", pa.large_string()),
        ("domain", pa.string()),
        ("group", pa.string()),
        ("origin", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What all workers of a capture do, wherever they are."""

    folder: Path  # of the shards, as every machine sees it
    name: str  # of the trace
    model: Path
    loading: Loading
    sampling: Sampling | None
    kept: Kept
    allow_nonfinite: bool
    prompts: dict[str, str | int]
    grouping: Grouping
    documents: int  # of the prompt file
    sampled: int  # of these
    before: Path | None  # a shard that was finished before, which has to be alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A row of the manifest; with an `error`, in a line, there is no file."""

    first: int
    last: int
    documents: int = 0
    tokens: int = 0
    truncated_documents: int = 0
    truncated_tokens: int = 0
    path: str = ""
    bytes: int = 0
    sha256: str = ""
    host: str = field(default_factory=socket.gethostname)
    error: str = ""


class Worker:
    """One model, loaded with the first texts. Ray Data calls it, in a process of its own."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self, texts: pa.Table) -> pa.Table:
        documents = documents_of(texts)
        try:
            shard = self.shard(documents)
        except Exception as error:
            if not is_foreseen(error):
                raise
            first, last = documents[0].doc_id, documents[-1].doc_id
            shard = Shard(first=first, last=last, error=line_of(error) or type(error).__name__)
        return pa.Table.from_pylist([asdict(shard)])

    def shard(self, documents: list[Document]) -> Shard:
        """Of these documents: the finished one that somebody left, or a new one."""
        name = f"{documents[0].doc_id:07d}-{documents[-1].doc_id:07d}"
        with self._attempt(name):
            for path in sorted(self._work.folder.glob(f"{name}.*.duckdb")):
                if doc_ids(path) == [document.doc_id for document in documents]:
                    require_same(path, self._description)
                    return described_shard(path)
            path = self._work.folder / f"{name}.{secrets.token_hex(4)}.duckdb"
            self._capture(documents, path)
            return described_shard(path)

    @contextmanager
    def _attempt(self, name: str) -> Iterator[None]:
        """On record while it lasts, so that it stays there if the worker is lost."""
        folder, host = self._work.folder, socket.gethostname()
        if not folder.is_dir():
            raise ValueError(
                f"{host} does not see {folder}; give --out in a folder that all machines of the "
                "cluster share, under the same path"
            )
        lost = len(list(folder.glob(f"{name}.*{LOST}")))
        if lost >= ATTEMPTS:
            first, last = map(int, name.split("-"))
            raise ValueError(
                f"{lost} workers were lost at documents {first} to {last}, as where memory does "
                "not suffice; give fewer --workers, or machines with more memory"
            )
        record = folder / f"{name}.{secrets.token_hex(4)}{LOST}"
        record.write_text(f"{host} {os.getpid()}", encoding="utf-8")
        try:
            yield
        finally:
            record.unlink(missing_ok=True)

    def _capture(self, documents: Iterable[Document], path: Path) -> None:
        work, on_gpu = self._work, self._tracer.model.device.type == "cuda"
        with TraceStore.create(path, self._description, apart=on_gpu) as store:
            self._tracer.capture(
                documents,
                work.kept.sink(store, self._description),
                sampling=work.sampling,
                allow_nonfinite=work.allow_nonfinite,
            )

    @cached_property
    def _tracer(self) -> Tracer:
        from app.commands.loading import model_folder

        return load_tracer(model_folder(self._work.model), self._work.loading)

    @cached_property
    def _description(self) -> TraceDescription:
        work = self._work
        whole = self._tracer.description(
            work.name, prompts=work.prompts, grouping=work.grouping, sampling=work.sampling
        )
        described = work.kept.described(whole, documents=work.sampled, of_documents=work.documents)
        if work.before:
            require_same(work.before, described)
        return described


def table_of(documents: Iterable[Document]) -> pa.Table:
    rows = [{name: getattr(document, name) for name in COLUMNS.names} for document in documents]
    return pa.Table.from_pylist(rows, schema=COLUMNS)


def documents_of(texts: pa.Table) -> list[Document]:
    return [Document(**row) for row in texts.to_pylist()]


def doc_ids(shard: Path) -> list[int]:
    with open_trace(shard) as con:
        return sorted(queries.documents(con).doc_id.tolist())


def described_shard(path: Path) -> Shard:
    """Of a finished file."""
    documents = doc_ids(path)
    with open_trace(path) as con:
        info = queries.trace_info(con)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    cut: Any = info.config["truncated"]
    return Shard(
        first=documents[0],
        last=documents[-1],
        documents=len(documents),
        tokens=info.num_tokens,
        truncated_documents=cut["documents"],
        truncated_tokens=cut["tokens"],
        path=str(path),
        bytes=path.stat().st_size,
        sha256=sha256,
    )
