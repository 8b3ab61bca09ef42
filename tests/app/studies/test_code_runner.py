"""Programs that pass, fail, exit, hang and ask for too much."""

import os
import time
from pathlib import Path

import pytest

from app.studies.code_runner import CodeLimits, run_program

ONE_SECOND = CodeLimits(seconds=1)


def test_a_program_that_reaches_its_end_has_passed() -> None:
    assert run_program("assert 1 + 1 == 2", CodeLimits()) == "passed"


@pytest.mark.parametrize(
    "program",
    [
        "assert 1 + 1 == 3",
        "def f(:",
        "import os; os.kill(os.getpid(), 11)",
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
    ],
    ids=["assertion", "syntax", "crash", "exit", "hard exit"],
)
def test_one_that_does_not_has_failed(program: str) -> None:
    assert run_program(program, CodeLimits()) == "failed"


@pytest.mark.parametrize("program", ["while True: pass", "import time; time.sleep(60)"])
def test_one_that_hangs_is_ended(program: str) -> None:
    started = time.monotonic()
    assert run_program(program, ONE_SECOND) == "timed out"
    assert time.monotonic() - started < 30


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    allowed = CodeLimits(seconds=2, processes=10_000)
    assert run_program(program, allowed) == "timed out"
    wait_for_the_end_of(Path(f"/proc/{pid.read_text()}/stat"))


def wait_for_the_end_of(state: Path) -> None:
    """A process that was killed may run a moment longer; after 60 s it had ended by itself."""
    deadline = time.monotonic() + 30
    while state.exists() and state.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "program",
    ["x = bytearray(2 ** 31)", "open('big', 'wb').write(b'x' * 2 ** 21)"],
    ids=["memory", "file"],
)
def test_more_than_its_share_is_refused(program: str) -> None:
    assert run_program(program, CodeLimits()) == "failed"


def test_it_has_an_empty_folder_of_its_own_and_no_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROUTESCOPE_SECRET", "x")
    program = (
        "import os\n"
        "assert 'ROUTESCOPE_SECRET' not in os.environ\n"
        "assert os.listdir('.') == ['program.py']\n"
        f"assert os.getcwd() != {os.getcwd()!r}\n"
    )
    assert run_program(program, CodeLimits()) == "passed"


@pytest.mark.slow
def test_output_without_end_fills_nothing() -> None:
    assert run_program("while True: print('x' * 1000)", ONE_SECOND) == "timed out"


def test_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 second, not 0"):
        CodeLimits(seconds=0)
