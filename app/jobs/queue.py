"""Work in the background: progress, cancel, errors. It outlives pages, not the process."""

import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeVar

import streamlit as st

from data.routing import CancelledError

T = TypeVar("T")
GRACE = 10.0  # seconds for jobs to end when the server does
STAGE = re.compile(r"stage (\d+)/(\d+): ")


@dataclass
class Job:
    """State that a worker writes and pages read. Text is shown as it is: no markup."""

    title: str
    state: str = "queued"  # running, done, failed, cancelled
    done: int = 0
    total: int = 0  # 0: unknown
    unit: str = ""
    note: str = ""
    error: str = ""
    result: object = None
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def fraction(self) -> float:
        return min(self.done / self.total, 1.0) if self.total else 0.0

    def result_of(self, kind: type[T]) -> T | None:
        """What a job that is done has made."""
        return self.result if self.state == "done" and isinstance(self.result, kind) else None

    def advance(self, done: int, *, total: int | None = None, unit: str | None = None) -> None:
        self.done = done
        self.total = self.total if total is None else total
        self.unit = self.unit if unit is None else unit

    def checkpoint(self) -> None:
        if self.stop.is_set():
            raise CancelledError


Work = Callable[[Job], object]


class Jobs:
    """One worker a lane, so that two heavy jobs of a kind never share the cores."""

    def __init__(self) -> None:
        self._lanes: dict[str, ThreadPoolExecutor] = {}
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, key: str, title: str, work: Work, *, lane: str) -> Job:
        """The running job of that key if there is one: asking twice does the work once."""
        with self._lock:
            known = self._jobs.get(key)
            if known is not None and known.active:
                return known
            job = self._jobs[key] = Job(title)
            worker = self._lanes.setdefault(lane, ThreadPoolExecutor(1, thread_name_prefix=lane))
        worker.submit(_run, job, work)
        return job

    def get(self, key: str) -> Job | None:
        return self._jobs.get(key)

    def forget(self, key: str) -> None:
        self._jobs.pop(key, None)

    def stop(self) -> None:
        """Cancel all, and give them time to end."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.stop.set()
        last = monotonic() + GRACE
        for job in jobs:
            job.ended.wait(max(0, last - monotonic()))


@st.cache_resource(show_spinner=False)
def all_jobs() -> Jobs:
    return Jobs()


def run_command(job: Job, command: Sequence[str]) -> None:
    """Run a command as a job of its own process; each line it prints becomes the note."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        watcher = threading.Thread(target=_terminate_on_stop, args=(job, process), daemon=True)
        watcher.start()
        assert process.stdout is not None
        for line in process.stdout:
            _report(job, line.strip())
    job.checkpoint()
    if process.returncode:
        raise ValueError(job.note or f"{command[0]} ended with code {process.returncode}")


def _report(job: Job, line: str) -> None:
    """A line of a command: `stage 2/4: what` moves the bar on."""
    job.note = line or job.note
    if stage := STAGE.match(line):
        job.advance(int(stage[1]) - 1, total=int(stage[2]), unit="stages")


def _terminate_on_stop(job: Job, process: subprocess.Popen) -> None:
    while process.poll() is None:
        if job.stop.wait(0.2):
            process.terminate()
            return


def _run(job: Job, work: Work) -> None:
    try:
        job.checkpoint()
        job.state = "running"
        job.result = work(job)
        job.state = "done"
    except CancelledError:
        job.state = "cancelled"
    except Exception as error:  # whatever happened belongs to the page that asked
        job.error = str(error) or type(error).__name__
        job.state = "failed"
    finally:
        job.ended.set()
