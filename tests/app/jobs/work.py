"""Work for processes of jobs: they import it, so it lies in no test file."""

import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic

from app.jobs.worker import Kept, Progress

FOREVER = [sys.executable, "-c", "import threading; threading.Event().wait()"]


def count(progress: Progress) -> str:
    progress.advance(3, total=4, unit="texts")
    return "made"


def fail(progress: Progress) -> None:
    raise ValueError("the file has no column text")


def break_down(progress: Progress) -> None:
    raise RuntimeError("a bug")


def keep(progress: Progress, name: str, size: int = 1) -> None:
    progress.keep(name, Kept(bytearray(b"x") * size, size, f"kept {name}"))


def give_up(progress: Progress, name: str) -> None:
    progress.give_up(name)


def wait_politely(progress: Progress) -> None:
    """Says that it runs, then stops when asked to."""
    progress.tell(note="running")
    progress.stop.wait()
    progress.checkpoint()


def wait_for_enough(progress: Progress) -> str:
    """Ends with what there is."""
    progress.tell(note="running", live=["a"])
    progress.enough.wait()
    return "what there was"


def wait_deaf(progress: Progress) -> None:
    """With a child of its own, and deaf to whoever asks it to stop."""
    child = subprocess.Popen(FOREVER)
    progress.tell(note=f"{os.getpid()} {child.pid}")
    threading.Event().wait()


def wait_for(progress: Progress, file: Path) -> None:
    """Until a file is there."""
    progress.tell(note="running")
    while not file.exists():
        threading.Event().wait(0.02)


def fill_memory(progress: Progress) -> None:
    held: list[bytearray] = []
    while True:
        held.append(bytearray(2**24))


def fill_memory_of_torch(progress: Progress) -> None:
    import torch

    torch.zeros(2**40)


def fill_shared_memory(progress: Progress) -> None:
    held: list[mmap.mmap] = []
    while True:
        held.append(mmap.mmap(-1, 2**24))
        held[-1].write(bytes(2**24))


def crash(progress: Progress, **about: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def process_id(progress: Progress) -> int:
    return os.getpid()


def niceness(progress: Progress) -> int:
    return os.nice(0)


def leave_a_file(progress: Progress) -> Path:
    path = progress.folder / "result"
    path.write_text("kept")
    return path


def serve_and_be_killed(traces: Path) -> None:
    """A server: jobs that run, pause and wait, then no end of its own."""
    from app import server_folder
    from app.jobs.job import Place
    from app.jobs.queue import Jobs

    jobs = Jobs(server_folder.claim(traces), traces, memory=2**30)
    maps = jobs.start("m", "Making the maps", wait_deaf, place=Place("overview"), automatic=True)
    wait_until(lambda: maps.note != "")
    run = jobs.start("a", "Running your text", wait_deaf, place=Place("prompts"))
    wait_until(lambda: run.note != "" and maps.state == "paused")
    jobs.start("b", "Writing tables", count, place=Place("export"))
    print(maps.note, run.note, flush=True)
    threading.Event().wait()


def wait_until(reached: Callable[[], bool], seconds: float = 60) -> None:
    """Look again and again, for what has no event."""
    end = monotonic() + seconds
    while not reached():
        assert monotonic() < end
        threading.Event().wait(0.02)


def wait_until_gone(processes: Iterable[int]) -> None:
    wait_until(lambda: all(map(gone, processes)))


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return b"State:\tZ" in Path(f"/proc/{process}/status").read_bytes()
