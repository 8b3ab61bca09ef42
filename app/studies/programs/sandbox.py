"""How a process is started that runs foreign code: in namespaces of its own where the system lets
us, else with what is left. `confinement` does the rest from inside."""

import inspect
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from types import ModuleType

from app.studies.programs import candidate, checks, confinement, values

UNSHARE = [
    *("unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts"),
    *("--fork", "--kill-child", "--mount-proc", "--"),
]
LOADED = (values, confinement, candidate, checks)  # each after what it imports
LAUNCHER = """
import json, os, sys, types
setup = json.load(sys.stdin.buffer)
for name, text in setup["modules"]:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
confinement, role = (sys.modules.get(setup[name]) for name in ("confinement", "role"))
confinement.confine(setup["limits"], **setup["files"])
pipes = [os.fdopen(*pipe) for pipe in setup["pipes"]]
if role is None or role.main(setup, *pipes):
    os._exit(setup["passed"])
"""
PASSED = 77  # an exit status, which no other process can write; no error has it
PROBE_SECONDS = 30


def open_doors() -> list[str]:
    """What a program may do on this machine that it should not, in words."""
    doors = []
    if reason := missing_namespaces():
        door = "learn which files you have" if has_landlock() else "read and write your files"
        doors.append(f"{door}, for want of namespaces ({reason})")
    if platform.machine() not in confinement.CALLS:
        doors.append("start processes" + (" and reach the network" if reason else ""))
    return doors


@cache
def missing_namespaces() -> str | None:
    """Why programs run without namespaces; None where they have them. Asked once, by doing it."""
    if sys.platform != "linux":
        return "they are of Linux"
    try:
        process = start(None, {}, {}, namespaces=True, stderr=subprocess.PIPE)
    except OSError as error:
        return f"unshare cannot be started: {error.strerror}"
    try:
        _, said = process.communicate(timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return "unshare does not answer"
    finally:
        end(process)
    if process.returncode == PASSED:
        return None
    return (said.decode(errors="replace").strip().splitlines() or ["unshare failed"])[-1]


@cache
def has_landlock() -> bool:
    """Whether this system can keep a process from files, and let the filter do the rest of it."""
    return platform.machine() in confinement.CALLS and confinement.landlock_version() >= 3


def start(
    role: ModuleType | None,
    setup: Mapping[str, object],
    limits: dict[str, int],
    folder: str = "/",
    *,
    namespaces: bool,
    pipes: Sequence[tuple[int, str]] = (),
    stderr: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """A process that confines itself, then does its role; its exit status is PASSED if that
    is true.

    `folder`: where it works without namespaces; with them it gets an empty one in memory.
    """
    names = {
        "modules": [(module.__name__, inspect.getsource(module)) for module in LOADED],
        "confinement": confinement.__name__,
        "role": role.__name__ if role else None,
        "files": {"namespaces": namespaces, "landlock": not namespaces and has_landlock()},
        "passed": PASSED,
        "limits": limits,
        "pipes": pipes,
    }
    with tempfile.TemporaryFile() as given:
        given.write(json.dumps({**setup, **names}).encode())
        given.seek(0)
        return subprocess.Popen(
            [*(UNSHARE if namespaces else []), sys.executable, "-I", "-c", LAUNCHER],
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={},
            cwd=folder,
            pass_fds=[descriptor for descriptor, _ in pipes],
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """With all that it started: what has left its group ends with its namespace."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stderr:
        process.stderr.close()
