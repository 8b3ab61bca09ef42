"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is whole stays, in one line."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import typer

from app.commands import signals
from app.commands.signals import STOPS, StoppedError, ended_by_signals, leaving, nothing
from data.connection import connect
from data.trace_paths import partial_path
from tests.torchrun import ROOT


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_ends_the_block_with_its_code_and_a_line(
    number: int, capsys: pytest.CaptureFixture
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended, ended_by_signals():
        os.kill(os.getpid(), number)
    assert ended.value.code == 128 + number
    assert capsys.readouterr().err == f"stopped by {signal.Signals(number).name}\n"
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("first", [*STOPS, signal.SIGINT])
@pytest.mark.parametrize("second", [*STOPS, signal.SIGINT])
def test_a_second_signal_cuts_nothing_short(first: int, second: int) -> None:
    tidied = []

    def stopped_while_it_tidies() -> None:
        try:
            os.kill(os.getpid(), first)
        finally:
            os.kill(os.getpid(), second)
            tidied.append(True)

    with pytest.raises((SystemExit, KeyboardInterrupt)), ended_by_signals():
        stopped_while_it_tidies()
    assert tidied


def test_after_a_while_asking_again_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library has lost the first."""
    monkeypatch.setattr(signals, "TIDYING", 0.0)

    def asked_twice() -> None:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), ended_by_signals():
        asked_twice()


def test_what_a_library_makes_of_a_signal_changes_nothing() -> None:
    def as_another_error() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except StoppedError as error:
            raise RuntimeError("query interrupted") from error

    with pytest.raises(SystemExit) as ended, ended_by_signals():
        as_another_error()
    assert ended.value.code == 143


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (StoppedError(129), 129)])
def test_a_command_says_what_it_leaves(
    error: BaseException, code: int, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(typer.Exit) as ended, leaving(nothing):
        raise error
    assert ended.value.exit_code == code
    assert capsys.readouterr().err == "interrupted; nothing was written\n"


STOP_IN_THE_SECOND_WINDOW = """
import os, signal, sys
from app import cli
from model import capture

whole = capture.in_document_order
windows = []

def stop_first(parts, **named):
    windows.append(parts)
    if len(windows) == 2:
        os.kill(os.getpid(), signal.{name})
    return whole(parts, **named)

capture.in_document_order = stop_first
capture.WINDOW_BATCHES = {{"cpu": 0.1, "cuda": 0.1}}
sys.argv = ["routescope", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code"),
    [("SIGTERM", 143), pytest.param("SIGHUP", 129, marks=pytest.mark.exhaustive)],
)
def test_a_capture_keeps_whole_documents(
    tmp_path: Path, folder: Path, name: str, code: int
) -> None:
    prompts, out = tmp_path / "p.txt", tmp_path / "t.duckdb"
    prompts.write_text("".join(f"prompt {i}\n" for i in range(100)), encoding="utf-8")
    arguments = ["capture", str(prompts), "--out", str(out), "--model", str(folder)]
    script = STOP_IN_THE_SECOND_WINDOW.format(name=name)
    stopped = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert stopped.returncode == code, stopped.stderr
    [line] = stopped.stderr.splitlines()
    assert line == f"interrupted; {partial_path(out)} holds what is done: add --resume to continue"
    with connect(partial_path(out), read_only=True) as con:
        stored = [row[0] for row in con.execute("SELECT doc_id FROM document").fetchall()]
    assert 0 < len(stored) < 100
    assert stored == list(range(len(stored)))
