"""Runs a generated program and its tests: each in a process of its own, both confined.

The tests ask the program's process for its values and decide by themselves, so that a program can
say what it likes, but not that it has passed.
"""

import os
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Literal

from app.studies.programs import candidate, checks
from app.studies.programs.sandbox import PASSED, end, missing_namespaces, start

Outcome = Literal["passed", "failed", "timed out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLimits:
    """What one program may use."""

    seconds: int = 5  # on the clock
    memory: int = 2**30  # bytes of address space
    file: int = 2**20  # bytes of one written file
    open_files: int = 64

    def __post_init__(self) -> None:
        if self.seconds < 1:
            raise ValueError(f"a program gets at least 1 second, not {self.seconds}")

    def of_process(self) -> dict[str, int]:
        """No others beside it; the clock ends it before the processor does."""
        sizes = {"RLIMIT_AS": self.memory, "RLIMIT_FSIZE": self.file}
        sizes |= {"RLIMIT_NOFILE": self.open_files}
        return sizes | {"RLIMIT_CPU": self.seconds + 1, "RLIMIT_NPROC": 0, "RLIMIT_CORE": 0}


DEFAULT_LIMITS = CodeLimits()


def run_program(program: str, tests: str, limits: CodeLimits, *, prompt: str = "") -> Outcome:
    """Passed only if all of the tests ran without an error; `prompt`: what the program begins with,
    which the task gave."""
    namespaces = missing_namespaces() is None
    of_process = limits.of_process()
    with ExitStack() as ends:
        for_program, for_tests = (
            ends.enter_context(TemporaryDirectory(ignore_cleanup_errors=True)) for _ in range(2)
        )
        (asked, asking), (answered, answering) = os.pipe(), os.pipe()
        own = ends.enter_context(ExitStack())  # ours, of which each process gets a copy
        for descriptor in (asked, asking, answered, answering):
            own.callback(os.close, descriptor)
        given, pipes = {"program": program}, [(asked, "rb"), (answering, "wb")]
        running = start(
            candidate, given, of_process, for_program, namespaces=namespaces, pipes=pipes
        )
        ends.callback(end, running)
        given, pipes = {"tests": tests, "prompt": prompt}, [(asking, "wb"), (answered, "rb")]
        deciding = start(checks, given, of_process, for_tests, namespaces=namespaces, pipes=pipes)
        ends.callback(end, deciding)
        own.close()  # now each sees when the other ends
        try:
            status = deciding.wait(timeout=limits.seconds)
        except subprocess.TimeoutExpired:
            return "timed out"
    return "passed" if status == PASSED else "failed"
