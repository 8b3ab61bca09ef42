"""The process that runs jobs, one after another: of bounded memory, and gone when its server is."""

import ctypes
import logging
import os
import pickle
import re
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from app import hub
from app.error_line import line_of
from app.jobs.memory import held, too_little
from data.routing import CancelledError

STOP, ENOUGH = b"stop", b"enough"  # what the server sends instead of work
PR_SET_PDEATHSIG = 1  # prctl(2)
NO_ROOM = re.compile(
    r"(can't|cannot|failed to|unable to) allocate|bad_alloc|bad allocation|allocation failure", re.I
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays in the memory of a process from job to job."""

    value: Any
    size: int  # bytes
    described: object  # plain data: what the server knows of it


@dataclass
class Progress:
    """What a job says while it runs, and whether it is to stop. Text is data: no markup."""

    folder: Path  # the job's own: gone with it, or at once unless it is done
    send: Callable[[dict[str, Any]], None] = lambda update: None
    stop: threading.Event = field(default_factory=threading.Event)
    enough: threading.Event = field(default_factory=threading.Event)  # end, with what there is
    kept: dict[str, Kept] = field(default_factory=dict)  # the last one used is the last

    def advance(self, done: int, *, total: int | None = None, unit: str | None = None) -> None:
        self.tell(done=done, total=total, unit=unit)

    def tell(self, **update: object) -> None:
        """Fields of the job: title, done, total, unit, note, live."""
        self.send({name: value for name, value in update.items() if value is not None})

    def checkpoint(self) -> None:
        if self.stop.is_set():
            raise CancelledError

    def keep(self, name: str, kept: Kept) -> None:
        self.kept.pop(name, None)
        self.kept[name] = kept
        self._tell_kept()

    def give_up(self, name: str) -> None:
        self.kept.pop(name, None)
        self._tell_kept()

    def _tell_kept(self) -> None:
        self.send({"kept": {name: kept.described for name, kept in self.kept.items()}})


Work = Callable[[Progress], object]  # a function of a module, or a partial of one: it is pickled


def serve(descriptor: int, memory: int, niceness: int) -> None:
    """Run what comes over the pipe until the server closes it. `memory`: the most, in bytes."""
    os.set_inheritable(descriptor, False)
    _wake_when_the_server_is_gone()
    _bound(memory)
    os.nice(niceness)
    if not hub.is_allowed():  # read by the hub's client when it is imported
        os.environ["HF_HUB_OFFLINE"] = "1"
    logging.disable(logging.WARNING)  # Streamlit's, that here is no server
    connection = Connection(descriptor)
    inbox: SimpleQueue[bytes] = SimpleQueue()
    asked = {STOP: threading.Event(), ENOUGH: threading.Event()}
    threading.Thread(target=_listen, args=(connection, inbox, asked), daemon=True).start()
    kept: dict[str, Kept] = {}
    while True:
        kept_any = bool(kept)
        state, payload, unharmed = _outcome(inbox.get(), connection, asked, memory, kept)
        sizes = sum(one.size for one in kept.values())
        gave_up_all = kept_any and not kept  # memory that is free for certain
        lean = held(os.getpid()) - sizes < memory / 2
        connection.send((state, payload, unharmed and lean and not gave_up_all))


def _wake_when_the_server_is_gone() -> None:
    """A paused process would not notice that the pipe is closed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT)


def _bound(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    if sys.platform == "linux":  # if the machine itself runs out, this process goes, no other
        Path("/proc/self/oom_score_adj").write_text("1000")


def _listen(
    connection: Connection, inbox: "SimpleQueue[bytes]", asked: dict[bytes, threading.Event]
) -> None:
    """What comes while the job runs. No server any more: whatever the job started goes too."""
    try:
        while True:
            message = connection.recv_bytes()
            if message in asked:
                asked[message].set()
            else:
                for event in asked.values():
                    event.clear()
                inbox.put(message)
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


def _outcome(
    message: bytes,
    connection: Connection,
    asked: dict[bytes, threading.Event],
    memory: int,
    kept: dict[str, Kept],
) -> tuple[str, object, bool]:
    """The state in which the job ended, its result or why there is none, and whether the process
    is as good as before."""
    try:
        work, folder = pickle.loads(message)
        progress = Progress(folder, connection.send, asked[STOP], asked[ENOUGH], kept)
        progress.checkpoint()
        return "done", work(progress), True
    except CancelledError:
        return "cancelled", None, True
    except MemoryError:
        return "failed", too_little(memory), False
    except Exception as error:  # whatever happened belongs to the page that asked
        text = line_of(error)
        if NO_ROOM.search(text):
            return "failed", too_little(memory), False
        return "failed", text, isinstance(error, ValueError)  # what a user gave was refused
