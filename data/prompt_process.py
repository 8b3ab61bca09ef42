"""A prompt file of a stranger's, read in a process of its own: bounded in memory and in time.

A file can say less of its size than it unpacks to, and a library that parses it can hang or fall.
"""

import multiprocessing
import os
import pickle
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from data.lines import Limits
from data.prompts import Prompts, read_prompts
from data.server_process import served_by

MEMORY = 1 << 30  # bytes that reading may take, beyond the libraries
SECONDS = 60.0
SYSTEM_POOL = "ARROW_DEFAULT_MEMORY_POOL", "system"  # others reserve more than they ever use
STATUS = Path("/proc/self/statm")  # pages; the sixth is what a limit of data counts


@dataclass(slots=True)
class PromptReading:
    """A process that reads a file."""

    name: str
    process: subprocess.Popen[bytes]
    receiver: Connection
    started: float

    def ended(self, *, wait: float) -> bool:
        """Whether it has ended after at most so many seconds, or has had its time."""
        return self.receiver.poll(wait) or self.seconds > SECONDS

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def prompts(self) -> Prompts:
        """Once it has ended. ValueError: the file is bad, or takes too much memory or time."""
        if not self.receiver.poll():
            raise ValueError(f"{self.name} takes more than {SECONDS:.0f} s to read; split it")
        try:
            answer = self.receiver.recv()
        except EOFError:
            raise ValueError(
                f"{self.name} cannot be read: it takes more than {MEMORY >> 20:,} MB, or is "
                "damaged; write it again or split it"
            ) from None
        if isinstance(answer, Prompts):
            return answer
        raise ValueError(answer)


@contextmanager
def prompt_reading(path: Path, limits: Limits, *, memory: int = MEMORY) -> Iterator[PromptReading]:
    """The process is killed when the block is left, whatever it was doing."""
    os.environ.setdefault(*SYSTEM_POOL)  # for the process, which reads it when it loads Arrow
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with sender:
        process = served_by(__name__, sender.fileno(), pickle.dumps((path, limits, memory)))
    try:
        yield PromptReading(path.name, process, receiver, time.monotonic())
    finally:
        process.kill()
        process.wait()
        receiver.close()


def serve(descriptor: int, asked: bytes) -> None:
    """In the process: read what was asked, and send it or why it cannot be had."""
    path, limits, memory = pickle.loads(asked)
    _limit_memory(memory)
    try:
        answer: Prompts | str = read_prompts(path, limits)
    except ValueError as error:
        answer = str(error)
    except MemoryError:
        answer = f"{path.name} takes more than {memory >> 20:,} MB to read; split it"
    with Connection(descriptor, readable=False) as sender:
        sender.send(answer)


def _limit_memory(memory: int) -> None:
    """Where the system can: elsewhere than on Linux only the time is bounded."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS) + 1))
    if STATUS.exists():
        data = int(STATUS.read_text().split()[5]) * resource.getpagesize()
        given = resource.getrlimit(resource.RLIMIT_DATA)[1]  # of the process that started this one
        most = data + memory if given == resource.RLIM_INFINITY else min(data + memory, given)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
