"""What models are before they are loaded: looked at one after another, in a process that ends
again, remembered until their files change."""

import threading
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic

import streamlit as st

from app import workspace
from app.error_line import line_of
from app.jobs.memory import job_memory
from app.jobs.process import Outcome, Process
from app.jobs.worker import Progress
from app.studies.model_facts import Facts, Machine, own_facts, this_machine, transformers_facts

SECONDS = 120  # for one look
AGAIN = 60.0  # seconds until a look that failed for what the machine was doing is tried again
WARM = 20.0  # seconds that the process waits for another folder: it has imported torch
GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # where the driver of one would be
THIS_MACHINE = Path("/")  # looked at as if it were a model

Answer = Facts | Machine | str  # str: why the folder has no model to choose


def look(progress: Progress, folder: Path) -> Answer:
    try:
        return this_machine() if folder == THIS_MACHINE else transformers_facts(folder)
    except ValueError as error:  # expected of folders: the process stays
        return line_of(error)


class Looks:
    """Belongs to the server: every page asks, one thread answers."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        # with the state of the files, and until when it holds
        self._answers: dict[Path, tuple[str, Answer, float]] = {}
        self._wanted: dict[Path, str] = {}  # in the order asked
        self._number = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def number(self) -> int:
        """Of folders that were looked at: it grows with each answer."""
        return self._number

    def at(self, folder: Path) -> Facts | str | None:
        """None: it is being looked at. A model of RouteScope needs no process for that."""
        from model.fingerprint import model_identity

        try:
            identity = model_identity(folder)
            if (answer := self._known(folder, identity)) is None:
                answer = self._first(folder, identity)
        except (ValueError, OSError) as error:
            return line_of(error)
        return answer if isinstance(answer, Facts | str) else None

    def _first(self, folder: Path, identity: str) -> Facts | None:
        from model.fingerprint import is_transformers

        if is_transformers(folder):
            self._ask(folder, identity)
            return None
        machine = self.machine()
        if machine is None:
            return None
        facts = own_facts(folder, machine)
        self._answers[folder] = identity, facts, inf
        return facts

    def machine(self) -> Machine | None:
        if not any(Path(gpu).exists() for gpu in GPUS):
            return Machine()
        answer = self._known(THIS_MACHINE, "")
        if answer is None:
            self._ask(THIS_MACHINE, "")
        if isinstance(answer, str):
            raise ValueError(f"this machine's GPU cannot be used: {answer}")
        return answer if isinstance(answer, Machine) else None

    def _known(self, folder: Path, identity: str) -> Answer | None:
        known = self._answers.get(folder)
        if known is None or known[0] != identity or known[2] < monotonic():
            return None
        return known[1]

    def _ask(self, folder: Path, identity: str) -> None:
        with self._changed:
            if folder not in self._wanted:
                self._wanted[folder] = identity
                self._changed.notify_all()

    def _serve(self) -> None:
        process: Process | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted, WARM if process else None)
                folder = next(iter(self._wanted), None)
                identity = self._wanted.get(folder, "") if folder else ""
            if folder is None:
                if process is not None:
                    process.end()
                process = None
                continue
            try:
                if process is None or not process.alive:
                    process = Process(memory=job_memory(), niceness=5)
                outcome = self._look(process, folder)
            except Exception as error:  # no process to be had
                outcome = Outcome("failed", f"it cannot be looked at: {error}")
            if process is not None and not outcome.again:
                process.end()
                process = None
            with self._changed:
                until = inf if outcome.state == "done" else monotonic() + AGAIN
                self._answers[folder] = identity, _answer_of(outcome), until
                del self._wanted[folder]
                self._number += 1

    def _look(self, process: Process, folder: Path) -> Outcome:
        stop = threading.Event()
        timer = threading.Timer(SECONDS, stop.set)
        timer.start()
        try:
            return process.run(
                partial(look, folder=folder),
                self._scratch,
                stop=stop,
                on_update=lambda update: None,
            )
        finally:
            timer.cancel()


def _answer_of(outcome: Outcome) -> Answer:
    if isinstance(outcome.payload, Facts | Machine):
        return outcome.payload
    if outcome.state == "cancelled":
        return f"looking at it took longer than {SECONDS} s; it is tried again after a while"
    return str(outcome.payload)


@st.cache_resource(show_spinner=False)
def all_looks() -> Looks:
    return Looks(workspace.scratch())
