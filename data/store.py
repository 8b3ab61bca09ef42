"""A trace on disk: one DuckDB file, written by one TraceStore, read through open_trace."""

import json
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import duckdb
import numpy as np

from data.batch_check import check_counts, check_layers, check_tokens
from data.connection import TraceError, connect, memory_of
from data.counts import CountsBatch
from data.groups import GroupDomains
from data.inputs import require_file
from data.new_trace import TraceDescription, create_empty, difference, layer_difference
from data.outputs import alone_in
from data.routing import RoutingBatch
from data.shards import described, open_shards, open_views, require_one_trace, require_shards
from data.strict_json import json_text
from data.tables_check import require_sound_tables
from data.trace_check import require_sound
from data.trace_format import format_version, require_own_format, stored_groups, stored_layers
from data.trace_paths import (
    discard_empty,
    discard_partial,
    merging_path,
    partial_path,
    require_free,
    require_ours,
    require_trace_name,
)
from data.trace_views import Source, create_views
from data.words import first_line

if TYPE_CHECKING:
    from data.writer import TraceWriter
    from data.writer_process import WriterProcess

QUEUE_BATCHES = 4  # between the producer and the writer thread


class TraceStore:
    """Takes batches, writes them in a thread, renames the file when its block ends well.

    A block that ends with an exception leaves `<name>.duckdb.partial`, which holds whole
    documents only and which `resume` continues; without any document it is deleted.
    """

    def __init__(
        self, path: Path, description: TraceDescription, *, apart: bool, begun: bool
    ) -> None:
        """Open the partial file of `path`: use `create` or `resume`. `apart`: a process of its own
        writes it; `begun`: it may hold documents."""
        self.path = path
        self._description = description
        partial = partial_path(path)
        self._ids_only: bool | None = None  # until the first batch
        self._groups = GroupDomains()
        with connect(partial, read_only=False) as connection:
            config = connection.execute("SELECT config FROM trace").fetchall()[0][0]
            for group, domain in stored_groups(connection):
                self._groups.check(group, domain, partial)
        size = description.num_layers, description.num_experts, json.loads(config)
        self._trace = writer_of(partial, *size, apart=apart)
        self._stored = self._trace.restore() if begun else set()
        self._error: Exception | None = None
        self._last: RoutingBatch | CountsBatch | None = None
        self._queue: queue.Queue[RoutingBatch | CountsBatch | None] = queue.Queue(QUEUE_BATCHES)
        self._thread = threading.Thread(target=self._drain, name="trace-writer", daemon=True)
        self._thread.start()

    @classmethod
    def create(cls, path: Path, description: TraceDescription, *, apart: bool = False) -> Self:
        require_free(path)
        with alone_in(path.parent):
            require_free(path)
            discard_partial(path)  # an empty one, or what DuckDB kept beside one that was deleted
            try:
                create_empty(partial_path(path), description)
                return cls(path, description, apart=apart, begun=False)
            except BaseException:
                discard_partial(path)
                raise

    @classmethod
    def resume(cls, path: Path, description: TraceDescription, *, apart: bool = False) -> Self:
        require_trace_name(path)
        partial = partial_path(path)
        require_ours(partial, what="an unfinished capture")
        discard_empty(partial)
        if not partial.exists():
            state = f"{path} is complete" if path.exists() else f"there is no {partial}"
            raise ValueError(f"{state}; start without --resume")
        require_same(partial, description)
        return cls(path, description, apart=apart, begun=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._queue.put(None)
            self._thread.join()
            if kind is None:
                self._raise_error()
                self._attempt(self._trace.finish)
                self._raise_error()
        finally:
            if self._thread.is_alive():  # waiting for it was interrupted
                self._trace.abandon()
                self._queue.put(None)
                self._thread.join()
            self._trace.close()
            if (kind or self._error) and self._trace.documents == 0:
                discard_partial(self.path)
        if kind is None:
            if os.path.lexists(self.path):
                raise ValueError(
                    f"{self.path} was made by somebody else meanwhile: this capture is kept as "
                    f"{partial_path(self.path).name}; move the other away and add --resume"
                )
            partial_path(self.path).rename(self.path)

    def stored_doc_ids(self) -> set[int]:
        """Documents that the file held when it was resumed."""
        return self._stored

    def write(self, batch: RoutingBatch | CountsBatch) -> None:
        """Hand rows to the writer thread; waits while that is behind. The same batch again, after
        an interruption, is written once."""
        if batch is self._last:
            return
        self._raise_error()
        self._check(batch)
        self._queue.put(batch)
        self._last = batch

    def _check(self, batch: RoutingBatch | CountsBatch) -> None:
        for document in batch.documents:
            self._groups.check(document.group, document.domain, f"document {document.doc_id}")
        expected = self._description
        if isinstance(batch, CountsBatch) != expected.counts_only:
            raise ValueError(
                "a trace holds the choices of tokens, or counts only; its description says which "
                "(counts_only)"
            )
        if isinstance(batch, CountsBatch):
            check_counts(batch, expected.layers)
            return
        layers, top_k = batch.expert_ids_TLK.shape[1:]
        if layers != expected.num_layers:
            raise ValueError(f"routing of {layers} layers, the trace has {expected.num_layers}")
        if expected.top_k not in (None, top_k):
            raise ValueError(f"{top_k} choices a token, the trace has {expected.top_k}")
        check_tokens(batch)
        check_layers(batch, expected.layers)
        if batch.weights_TLK.size and not batch.findings:
            self._check_weights(batch.weights_TLK)

    def _check_weights(self, weights_TLK: np.ndarray) -> None:
        """All are numbers, or all NaN in the whole trace: its source gives ids only."""
        unknown = bool(np.isnan(weights_TLK).all())
        if self._ids_only is None:
            self._ids_only = unknown
        if unknown != self._ids_only or not (unknown or np.isfinite(weights_TLK).all()):
            raise ValueError("weights that are NaN or infinite need a finding that says so")

    def _drain(self) -> None:
        """The writer thread. After an error it only empties the queue, so that no one waits."""
        while True:
            try:
                batch = self._queue.get(timeout=self._trace.due_in())
            except queue.Empty:  # the next batch takes its time: what waits is not kept for it
                self._attempt(self._trace.flush)
                continue
            if batch is None:
                break
            self._attempt(self._trace.write, batch)
        self._attempt(self._trace.flush)

    def _attempt(self, step: Callable[..., None], *arguments: RoutingBatch | CountsBatch) -> None:
        if self._error is not None:
            return
        try:
            step(*arguments)
        except Exception as error:  # handed to the producer, in _raise_error
            self._error = error

    def _raise_error(self) -> None:
        if isinstance(self._error, duckdb.Error):
            partial = partial_path(self.path)
            raise ValueError(f"cannot write {partial}: {first_line(self._error)}") from self._error
        if self._error is not None:
            raise self._error


def writer_of(
    partial: Path, num_layers: int, num_experts: int, config: dict[str, object], *, apart: bool
) -> "TraceWriter | WriterProcess":
    """Who only reads traces does not wait for what writes them to be imported."""
    from data.writer import TraceWriter
    from data.writer_process import WriterProcess

    if apart:
        return WriterProcess(partial, num_layers, num_experts, config)
    return TraceWriter(connect(partial, read_only=False), num_layers, num_experts, config)


def require_same(partial: Path, description: TraceDescription) -> None:
    require_sound(partial, whole=False)
    with connect(partial, read_only=True) as connection:
        require_own_format(connection, partial)
        cursor = connection.execute("SELECT * FROM trace")
        names = [column[0] for column in cursor.description]
        stored = dict(zip(names, cursor.fetchall()[0], strict=True))
        layers = stored_layers(connection)
    stored["config"] = json.loads(stored["config"])
    del stored["config"]["truncated"]
    another = layer_difference(layers, description.layers)
    for name, value in description.row().items():
        if name == "config":  # as it is stored: no infinity, names of fields as text
            value = json.loads(json_text(value))
        if another is None and stored[name] != value:
            another = difference(name, stored[name], value)
    if another is not None:
        raise ValueError(
            f"{partial} was begun with another {another}; resume it with the same, or delete it"
        )


def open_trace(path: Path, *, rows: bool = True) -> duckdb.DuckDBPyConnection:
    """A finished and sound trace, read-only, with no access to anything outside it. Without
    `rows`, for pages: those of a large trace are taken for sound where their sums are, and what
    stays in memory is less."""
    if path.suffix == ".partial" and not path.is_dir():
        whole = path.with_suffix("")
        raise TraceError(
            f"{path} is an unfinished capture; complete it with "
            f"`routescope capture PROMPTS --out {whole} --resume`"
        )
    if path.suffix == ".merging":
        raise TraceError(f"{path} is an unfinished merge; run the same `routescope merge` again")
    if not path.exists():
        for unfinished in (partial_path(path), merging_path(path)):
            if unfinished.is_file():
                return open_trace(unfinished, rows=rows)
    if path.is_dir():
        return open_folder(path, rows=rows)
    try:
        require_file(path, what="trace")
    except ValueError as error:
        raise TraceError(str(error)) from error
    require_sound(path, rows=rows)
    connection = connect(path, read_only=True, memory=memory_of(rows))
    create_views(connection, [Source("file.main", format_version(connection))])
    connection.execute("USE memory")
    return connection


def open_folder(folder: Path, *, rows: bool) -> duckdb.DuckDBPyConnection:
    """The shards in it as one trace. TraceError: they are none, or one of them is missing."""
    paths = require_shards(folder)
    so_many = 1 << (len(paths) - 1).bit_length()  # a power of 2: a shard more seldom changes it
    shards = []
    for path in paths:
        if path.is_file():
            require_sound(path, rows=rows, shards=so_many)
        else:
            require_sound_tables(path, rows=rows, shards=so_many)
        with open_views([path]) as con:
            shards.append(described(path, con))
    try:
        require_one_trace(shards, all_parts=paths != [folder])  # an export alone may be a part
    except ValueError as error:
        raise TraceError(str(error)) from error
    return open_shards(folder, paths, shards, memory=memory_of(rows))
