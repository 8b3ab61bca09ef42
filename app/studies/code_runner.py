"""Runs a generated program in a process of its own, with limits. A limit is no sandbox.

The program sees the user's files, may read them, and can reach the network.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Outcome = Literal["passed", "failed", "timed out"]

# Runs inside the child before the program: limits first, then the program, and only then the
# proof that its end was reached, so that a program that exits by itself has not passed.
LAUNCHER = """
import resource, runpy, sys
proof = sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_CPU, ({cpu}, {cpu} + 1))  # a signal, then the end
for limit, value in ((resource.RLIMIT_AS, {memory}), (resource.RLIMIT_FSIZE, {file}),
                     (resource.RLIMIT_NPROC, {processes}), (resource.RLIMIT_CORE, 0)):
    resource.setrlimit(limit, (value, value))
runpy.run_path("program.py", run_name="__main__")
with open("proof", "w") as file:
    file.write(proof)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLimits:
    """What one program may use."""

    seconds: int = 5  # on the clock, and of one core
    memory: int = 2**30  # bytes of address space
    file: int = 2**20  # bytes of one written file
    processes: int = 0  # beside its own; the kernel does not hold root to it

    def __post_init__(self) -> None:
        if self.seconds < 1:
            raise ValueError(f"a program gets at least 1 second, not {self.seconds}")


DEFAULT_LIMITS = CodeLimits()


def run_program(program: str, limits: CodeLimits) -> Outcome:
    """Passed only if the whole program ran to its end."""
    proof = secrets.token_hex(16)
    launcher = LAUNCHER.format(
        cpu=limits.seconds, memory=limits.memory, file=limits.file, processes=limits.processes
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder, "program.py").write_text(program, encoding="utf-8")
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", launcher],
            cwd=folder,
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            child.communicate(proof.encode(), timeout=limits.seconds)
        except subprocess.TimeoutExpired:
            return "timed out"
        finally:
            kill_group(child)
        if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            return "timed out"
        return "passed" if proved(Path(folder, "proof"), proof) else "failed"


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """The program and what it started, unless that left the group."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def proved(path: Path, proof: str) -> bool:
    try:
        return path.read_bytes() == proof.encode()
    except OSError:
        return False
