"""A process for jobs, as the server sees it: spawned, told what to do, paused, ended."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from app.jobs import worker
from app.jobs.memory import held, too_little
from app.jobs.worker import ENOUGH, STOP, Work
from data.server_process import served_by

PATIENCE = 0.7  # seconds for a job to stop by itself before its process is killed
LOOK = 0.05  # seconds between looks at whether it was cancelled


@dataclass(frozen=True, slots=True)
class Outcome:
    state: str  # done, failed, cancelled
    payload: object = None  # the result, or why there is none
    again: bool = False  # the process is as good as new


class Process:
    """Never forked: threads and locks of the server must not be in it. Belongs to one thread."""

    def __init__(self, *, memory: int, niceness: int = 0) -> None:
        self._memory = memory
        self._kept: dict[str, Any] = {}
        self._connection, theirs = multiprocessing.Pipe()
        with theirs:
            self._process = served_by(
                worker.__name__,
                theirs.fileno(),
                memory,
                niceness,
                process_group=0,  # with whatever it starts itself
            )

    @property
    def kept(self) -> dict[str, Any]:
        """What it keeps in its memory, described by name. From any thread."""
        try:
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return {}
        return {} if ended else self._kept

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def run(
        self,
        work: Work,
        folder: Path,
        *,
        stop: threading.Event,
        on_update: Callable[[dict[str, Any]], None],
        enough: threading.Event | None = None,
    ) -> Outcome:
        """Returns within PATIENCE of `stop`, whatever the job does. `enough`: it ends with what it
        has."""
        try:
            self._connection.send_bytes(pickle.dumps((work, folder)))
            return self._follow(stop, on_update, enough or threading.Event())
        except (EOFError, ConnectionError):
            self.end()
            if stop.is_set():
                return Outcome("cancelled")
            return Outcome("failed", self._last_words())

    def _follow(
        self,
        stop: threading.Event,
        on_update: Callable[[dict], None],
        enough: threading.Event,
    ) -> Outcome:
        deadline: float | None = None
        told = False
        while deadline is None or monotonic() < deadline:
            if self._connection.poll(LOOK):
                message = self._connection.recv()
                if isinstance(message, tuple):
                    return Outcome(*message)
                if "kept" in message:
                    self._kept = message["kept"]
                else:
                    on_update(message)
            if held(self._process.pid) > self._memory:
                self.end()
                return Outcome("failed", too_little(self._memory))
            if enough.is_set() and not told:
                self._connection.send_bytes(ENOUGH)
                told = True
            if stop.is_set() and deadline is None:
                self._connection.send_bytes(STOP)
                deadline = monotonic() + PATIENCE
        self.end()
        return Outcome("cancelled")

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """From any thread; the one that it belongs to ends it."""
        self._signal(signal.SIGKILL)

    def end(self) -> None:
        self.kill()
        self._process.wait()
        self._connection.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:  # not yet reaped, so the id is still its own
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _last_words(self) -> str:
        code = self._process.returncode
        if code == -signal.SIGKILL:
            return "its process was killed, most likely because the machine ran out of memory"
        name = signal.Signals(-code).name if code < 0 else f"code {code}"
        return f"its process ended before the work was done ({name})"
