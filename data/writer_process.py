"""A TraceWriter in a process of its own, for captures on a GPU: writing takes so much of an
interpreter that the kernels of a model would be launched too late beside it.
"""

import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from data.channel import Channel
from data.connection import connect
from data.counts import CountsBatch
from data.routing import RoutingBatch
from data.server_process import served_by
from data.tally import warm
from data.writer import TraceWriter

AHEAD = 2  # commands that are read while one is done
LOOK = 0.05  # seconds between looks at whether the process that asks is there


class WriterProcess:
    """Does what TraceWriter does, for one thread at a time. The process ends when this one does,
    and is not interrupted with it: what is begun here is ended from here."""

    def __init__(
        self, path: Path, num_layers: int, num_experts: int, config: dict[str, object]
    ) -> None:
        self.documents = 0  # committed, when it last answered
        self._path = path
        self._unanswered = 0
        self._in_step = True  # messages were sent and received whole
        self._channel, theirs = Channel.pair()
        self._process = served_by(__name__, theirs.fileno(), process_group=0)
        theirs.close()
        try:
            self._channel.send((path, num_layers, num_experts, config))
        except OSError as error:
            raise self._gone() from error

    def restore(self) -> set[int]:
        doc_ids: set[int] = self._ask("restore")
        return doc_ids

    def write(self, batch: RoutingBatch | CountsBatch) -> None:
        """Waits while the process is behind; what failed in it is raised by a later call."""
        self._tell("write", batch)

    def due_in(self) -> None:
        """The process commits in time by itself."""

    def flush(self) -> None:
        self._ask("flush")

    def finish(self) -> None:
        self._ask("finish")

    def abandon(self) -> None:
        """From another thread: what the process has not committed is given up."""
        self._process.kill()

    def close(self) -> None:
        """What it was asked is done first, unless a message was cut short by an interruption: then
        it is killed, and what it has not committed is given up."""
        if not self._in_step:
            self.documents = max(self.documents, 1)  # it may have committed some: they are kept
            self.abandon()
        with suppress(EOFError, OSError):
            self._channel.send(("close", ()))
            while True:
                self._channel.receive()
        self._channel.close()
        self._process.wait()

    def _tell(self, name: str, *arguments: object) -> None:
        while self._channel.waits():
            self._answer()
        with self._exchange():
            self._channel.send((name, arguments))
        self._unanswered += 1

    def _ask(self, name: str) -> Any:
        self._tell(name)
        while self._unanswered > 1:
            self._answer()
        return self._answer()

    def _answer(self) -> Any:
        with self._exchange():
            documents, answer = self._channel.receive()
        self._unanswered -= 1
        self.documents = documents
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        self._in_step = False
        try:
            yield
        except (EOFError, OSError) as error:
            raise self._gone() from error
        self._in_step = True

    def _gone(self) -> ValueError:
        self.documents = max(self.documents, 1)  # it may have committed some: they are kept
        return ValueError(
            f"the process that writes {self._path} ended, most likely because the machine ran out "
            "of memory; what it had committed is kept: add --resume to continue"
        )


def serve(descriptor: int) -> None:
    """In the process: one command after the other, each answered with (documents committed, what it
    gave or the error)."""
    told = Channel.of(descriptor)
    path, *size = told.receive()
    commands: queue.Queue[tuple[str, tuple[Any, ...]]] = queue.Queue(AHEAD)
    threading.Thread(target=_read, args=(told, commands), daemon=True).start()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        writer = TraceWriter(connect(path, read_only=False), *size)
    except Exception as error:
        _refuse(told, commands, error)
    warm()
    failed: Exception | None = None
    name = ""
    while name != "close":
        try:
            name, arguments = commands.get(timeout=None if failed else writer.due_in())
        except queue.Empty:  # the next batch takes its time: what waits is not kept for it
            failed = _attempt(writer, "flush")
            continue
        answer = failed if failed and name != "close" else _attempt(writer, name, *arguments)
        if isinstance(answer, Exception):
            failed = answer
        with suppress(OSError):  # who asked is gone, and this process goes too
            told.send((writer.documents, answer))
    os._exit(0)  # DuckDB's bindings list on the terminal what an interpreter leaves behind


def _refuse(told: Channel, commands: queue.Queue, error: Exception) -> NoReturn:
    """What cannot be opened is told to who asks for anything."""
    while commands.get()[0] != "close":
        told.send((0, error))
    os._exit(1)


def _attempt(writer: TraceWriter, name: str, *arguments: object) -> Any:
    """What it gives, or its error, for who asked."""
    try:
        return getattr(writer, name)(*arguments)
    except Exception as error:
        return error


def _read(told: Channel, commands: queue.Queue) -> None:
    """While one is done."""
    with suppress(Exception):
        while True:
            commands.put(told.receive())
    os._exit(1)  # nobody asks any more, or not whole


def _end_with(parent: int) -> None:
    """As if it were killed too."""
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)
