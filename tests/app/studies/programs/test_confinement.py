"""Programs that lie, hang and ask for too much, in namespaces and without them."""

import os
import platform
import subprocess
import time
import venv
from pathlib import Path

import pytest

from app.studies.programs import confinement, sandbox
from app.studies.programs.runner import CodeLimits, run_program
from app.studies.programs.sandbox import UNSHARE, open_doors
from tests.app.studies.programs.outcomes import (
    denied,
    hides_files,
    needs_namespaces,
    outcome,
)

QUEUE = {"x86_64": 129, "aarch64": 138}.get(platform.machine())  # rt_sigqueueinfo
TWO_SECONDS = CodeLimits(seconds=2)


@pytest.mark.parametrize("system", ["landlock"], indirect=True)
def test_landlock_hides_all_processes(system: str) -> None:
    opened = [f"/proc/{os.getpid()}/{name}" for name in ("mem", "fd", "cmdline")]
    for path in ("/proc", "/proc/self/fd", *opened):
        assert (
            outcome(denied(f"import os; os.open({path!r}, os.O_RDONLY)"), "assert denied")
            == "passed"
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("while True: pass", "assert True"),
        ("def f():\n  while True: pass", "assert f()"),
        ("x = 1", "while True: pass"),
        ("while True: print('x' * 1000)", "assert True"),
    ],
    ids=["program", "call", "tests", "output"],
)
def test_one_that_hangs_is_ended(program: str, tests: str, system: str) -> None:
    assert run_program(program, tests, TWO_SECONDS) == "timed out"


NUMBERS = {  # of system calls
    "x86_64": (314, 251, 438, 29, 68, 250),
    "aarch64": (274, 30, 438, 194, 186, 219),
}.get(platform.machine(), ())
ARGUMENTS = (
    *(
        "os.getpid(), bytes([48, *[0] * 15, 9, *[0] * 31]), 0",
        "1, os.getpid(), 3 << 13",
        "9, 0, 0",
        "0, 4096, 0o1600",
    ),
    *("0, 0o1600", "0, -3, 1"),
)
WORDS = ("schedule", "disk priority", "descriptor of another", "shared memory", "queue", "keys")
RAW = {
    f"{number}, {given}": word
    for number, given, word in zip(NUMBERS, ARGUMENTS, WORDS, strict=False)
}


@pytest.mark.parametrize(
    "statement",
    [
        "import os; os.fork()",
        "import os\n  while True: os.fork()",
        "import subprocess; subprocess.Popen(['sleep', '9'], start_new_session=True)",
        "import threading; threading.Thread(target=print).start()",
        "import socket; socket.socket()",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import os; os.kill(1, 0)",
        "import ctypes, os; call = ctypes.CDLL(None).syscall\n"
        f"  if call({QUEUE}, os.getpid(), 0, bytes(128)): raise OSError",
        "import fcntl, os; fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getpid())",
        "import fcntl, os; fcntl.fcntl(os.pipe()[0], 10, 9)",
        *(
            f"import fcntl, os, socket; fcntl.ioctl(socket.socketpair()[0], {command}, bytes(4))"
            for command in (0x8901, 0x8902)  # FIOSETOWN, SIOCSPGRP
        ),
        *(
            "import ctypes, os; call = ctypes.CDLL(None, use_errno=True).syscall\n"
            f"  if call({call}) == -1 and ctypes.get_errno() == 1: raise OSError"
            for call in RAW
        ),
        "import os, resource; resource.prlimit(os.getpid(), resource.RLIMIT_CPU)",
        "import os; os.setpriority(os.PRIO_PROCESS, 0, 0)",
    ],
    ids=[
        "fork",
        "fork bomb",
        "new session",
        "thread",
        "network",
        "local socket",
        "signal",
        "queued signal",
        "owner",
        "owner's signal",
        "owner of a socket",
        "group of a socket",
        *RAW.values(),
        "limit",
        "priority",
    ],
)
def test_neither_processes_nor_sockets_nor_signals(statement: str, system: str) -> None:
    assert outcome(denied(statement), "assert denied") == "passed"


@pytest.mark.parametrize(
    "statement",
    ["x = bytearray(2 ** 31)", "open('big', 'wb', 0).write(bytes(2 ** 21))"],
    ids=["memory", "file"],
)
def test_more_than_its_share_is_refused(statement: str, system: str) -> None:
    assert outcome(f"{statement}\nassert open('big').seek(0, 2) > 2 ** 20", "assert 1") == "failed"


@pytest.mark.parametrize(
    "statement",
    [
        "import os; os.memfd_create('x')",
        "import os; [os.dup(0) for _ in range(64)]",
        "import ctypes; ctypes.CDLL(None).setrlimit(7, bytes((ctypes.c_ulong * 2)(99, 99)))\n"
        "  import os; [os.dup(0) for _ in range(64)]",
    ],
    ids=["memory of no process", "open files", "limit raised"],
)
def test_memory_that_no_limit_counts_is_refused(statement: str, system: str) -> None:
    assert outcome(denied(statement), "assert denied") == "passed"


@hides_files
@pytest.mark.parametrize("python", ["ours", "one beside the files"])
def test_files_outside_can_be_neither_written_nor_found(
    python: str, system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if python != "ours":
        venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
        monkeypatch.setattr(sandbox.sys, "executable", str(tmp_path / "venv" / "bin" / "python"))
    (tmp_path / "mine").write_text("kept")
    for path in (tmp_path / "mine", Path("/etc/routescope"), Path("/proc/sys/kernel/hostname")):
        assert outcome(denied(f"open({str(path)!r}, 'w')"), "assert denied") == "passed"
    for path in (tmp_path / "mine", Path(__file__), Path("/etc/passwd")):
        assert outcome(denied(f"open({str(path)!r})"), "assert denied") == "passed"
    for number in range(3, 12):  # of a descriptor left open
        relative = f"import os; os.open('../mine', os.O_RDONLY, dir_fd={number})"
        assert outcome(denied(relative), "assert denied") == "passed"
    for change in ("chmod({}, 0)", "utime({})", "truncate({}, 0)", "unlink({})", "link({}, 'x')"):
        statement = f"import os; os.{change.format(repr(str(tmp_path / 'mine')))}"
        assert outcome(denied(statement), "assert denied") == "passed"
    assert (tmp_path / "mine").read_text() == "kept"


@needs_namespaces
def test_files_directly_in_the_root_are_empty() -> None:
    program = "import os\nsizes = [os.stat('/' + name, follow_symlinks=False).st_size"
    program += " for name in os.listdir('/') if os.path.isfile('/' + name)]"
    assert outcome(program, "assert not any(sizes)") == "passed"


@needs_namespaces
def test_it_sees_no_other_process_and_cannot_undo_what_confines_it() -> None:
    program = "import os, ctypes\nlibc = ctypes.CDLL(None)\n"
    program += "seen = [name for name in os.listdir('/proc') if name.isdigit()]\n"
    program += "undone = [libc.mount(b'none', b'/', b'none', 32 | 4096, None), libc.unshare(65536)]"
    assert outcome(program, "assert len(seen) == 1\nassert undone == [-1, -1]") == "passed"


def test_it_has_an_empty_folder_to_write_to_and_no_environment(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTESCOPE_SECRET", "x")
    program = "import os\nlisted, secret = os.listdir('.'), os.environ.get('ROUTESCOPE_SECRET')\n"
    program += f"elsewhere = os.getcwd() != {os.getcwd()!r}\nopen('own', 'w').write('text')"
    tests = "assert listed == [] and secret is None and elsewhere"
    assert outcome(program, tests) == "passed"


@needs_namespaces
def test_a_child_that_leaves_its_group_ends_with_the_namespace() -> None:
    """Nothing confines this one but the namespaces."""
    marker = f"{os.getpid()}.25"  # seconds to sleep, by which it is known
    process = subprocess.Popen(
        [*UNSHARE, "sh", "-c", f"setsid sleep {marker} & wait"], start_new_session=True
    )
    wait_until(lambda: sleeping(marker))
    sandbox.end(process)
    wait_until(lambda: not sleeping(marker))


def sleeping(marker: str) -> list[str]:
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in lines.stdout.splitlines() if line == f"sleep {marker}"]


def wait_until(true: object) -> None:
    deadline = time.monotonic() + 60
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_does_not_hold_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "missing_namespaces", lambda: "unshare: not permitted")
    monkeypatch.setattr(sandbox, "has_landlock", lambda: True)
    [line] = open_doors()
    assert line == "learn which files you have, for want of namespaces (unshare: not permitted)"
    monkeypatch.setattr(sandbox, "has_landlock", lambda: False)
    [line] = open_doors()
    assert line == "read and write your files, for want of namespaces (unshare: not permitted)"
    monkeypatch.setattr(confinement, "CALLS", {})
    assert open_doors()[1] == "start processes and reach the network"
