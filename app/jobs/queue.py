"""Work in the background: one job at a time, in processes of their own, for all pages and tabs.

What a user asked for goes first. Meanwhile jobs that start by themselves are paused where they are.
"""

import shutil
import threading
import uuid
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from time import monotonic
from typing import Any

import streamlit as st

from app import folders, server_folder, workspace
from app.jobs.job import Job, Place
from app.jobs.memory import job_memory
from app.jobs.process import PATIENCE, Outcome, Process
from app.jobs.worker import Work

ENDED = 20  # jobs remembered; what older ones made and nobody saved is deleted
SETTLE = 4.0  # seconds
DRAWING = 1.5  # seconds that a page takes, in the browser too
NICE = {False: 5, True: 10}  # by whether a job starts by itself; pages come before both


class Jobs:
    """One thread for what users asked for, whose process waits for the next job with the model in
    its memory, and one for what starts by itself. Only one of the two computes at a time."""

    def __init__(self, folder: Path, traces: Path, *, memory: int, settle: float = 0.0) -> None:
        """settle: seconds in which the page that started a job by itself draws first."""
        self._folder, self._traces, self._memory = folder, traces, memory
        self._settle = settle
        self._jobs: dict[str, Job] = {}  # by id, oldest first
        self._changed = threading.Condition()
        self._closed = False
        self._preferred = ""  # trace that somebody looks at
        self._drawn_until = 0.0
        self._warm: Process | None = None  # of users' jobs
        self.ended_before = server_folder.read_jobs(folder)[1]  # by the end of the server before
        self._workers = [
            threading.Thread(target=self._serve, args=(automatic,), daemon=True)
            for automatic in (False, True)
        ]
        for thread in self._workers:
            thread.start()

    def start(
        self, key: str, title: str, work: Work, *, place: Place, automatic: bool = False
    ) -> Job:
        """The running job of that key if there is one: asking twice does the work once."""
        with self._changed:
            known = self.get(key)
            if known is not None and known.active:
                return known
            name = uuid.uuid4().hex
            job = Job(name, key, self._unlike(title), place, work, self._folder / name, automatic)
            self._jobs[name] = job
            self._forget_old()
            self._arrange()
        return job

    def _unlike(self, title: str) -> str:
        """With a number where another job has that title."""
        titles = {job.title for job in self.all()}
        numbered = (f"{title} ({number})" for number in count(2))
        return next(one for one in chain([title], numbered) if one not in titles)

    def all(self) -> list[Job]:
        return list(self._jobs.values())

    def get(self, key: str) -> Job | None:
        """The newest of that key."""
        return next((job for job in reversed(self.all()) if job.key == key), None)

    @property
    def kept(self) -> dict[str, Any]:
        """What the process of users' jobs keeps in its memory, described by name."""
        warm = self._warm
        return {} if warm is None else warm.kept

    def ahead_of(self, job: Job) -> Job | None:
        """What a job waits for that is queued or paused."""
        others = [other for other in self.all() if other.active and other is not job]
        computing = [other for other in others if other.state == "running"]
        before = [other for other in others if other.automatic <= job.automatic]
        return next(iter(computing or before), None)

    def prefer(self, trace: str) -> None:
        """Of the jobs that nobody asked for, those of this trace are next: somebody looks at it."""
        with self._changed:
            self._preferred = trace

    def draw_first(self, seconds: float = DRAWING) -> None:
        """A page is about to be drawn: what nobody asked for stands still meanwhile."""
        with self._changed:
            self._drawn_until = monotonic() + seconds
            for job in self._by_themselves():
                job.stand_still()
        after = threading.Timer(seconds, self._go_on)
        after.daemon = True
        after.start()

    def _go_on(self) -> None:
        with self._changed:
            if monotonic() >= self._drawn_until:
                for job in self._by_themselves():
                    job.go_on()

    def _by_themselves(self) -> list[Job]:
        return [job for job in self.all() if job.automatic]

    def cancel(self, job: Job) -> None:
        """Returns when it has ended, so that whoever asked sees it at once."""
        with self._changed:
            job.stop.set()
            job.go_on()  # it ends by itself
            if job.state == "queued":
                self._end(job, Outcome("cancelled"))
        job.ended.wait(2 * PATIENCE)

    def forget(self, key: str) -> None:
        with self._changed:
            for job in [job for job in self.all() if job.key == key and not job.active]:
                self._remove(job)

    def dismiss(self) -> None:
        """What has ended, with this server or the one before: the user knows."""
        with self._changed:
            self.ended_before = []
            for job in self.all():
                job.dismissed = not job.active
            self._record()

    def stop(self) -> None:
        """End every process at once. What they were doing stays on record for the next server."""
        with self._changed:
            self._closed = True
            for job in self.all():
                job.stop.set()
                if job.process is not None and job.active:
                    job.process.kill()
            self._changed.notify_all()
        for thread in self._workers:
            thread.join()

    def _serve(self, automatic: bool) -> None:
        process: Process | None = None
        while (job := self._next(automatic)) is not None:
            if automatic and job.stop.wait(self._settle):
                with self._changed:
                    self._end(job, Outcome("cancelled"))
                continue
            try:
                if process is None or not process.alive:
                    process = Process(memory=self._memory, niceness=NICE[automatic])
                    if not automatic:
                        self._warm = process
                outcome = self._run(job, process)
            except Exception as error:  # no process to be had, or work that cannot be sent
                outcome = Outcome("failed", str(error))
            if process is not None and (automatic or not outcome.again):
                process.end()
                process = None
            with self._changed:
                self._end(job, outcome)
        if process is not None:
            process.end()

    def _next(self, automatic: bool) -> Job | None:
        """The oldest that may run, first of the preferred trace, once there is one; None at the end
        of the server."""

        def ready() -> Job | None:
            if automatic and self._busy():
                return None
            waiting = [
                job for job in self.all() if job.state == "queued" and job.automatic == automatic
            ]
            waiting.sort(key=lambda job: job.place.query.get("trace") != self._preferred)
            return next(iter(waiting), None)

        with self._changed:
            self._changed.wait_for(lambda: self._closed or ready())
            job = None if self._closed else ready()
            if job is not None:
                job.state = "running"
            return job

    def _run(self, job: Job, process: Process) -> Outcome:
        job.folder.mkdir(exist_ok=True)
        with self._changed:
            job.process = process
            self._arrange()
        return process.run(
            job.work, job.folder, stop=job.stop, on_update=job.update, enough=job.enough
        )

    def _busy(self) -> bool:
        return any(job.active and not job.automatic for job in self.all())

    def _arrange(self) -> None:
        """After any change: who was not asked for gives way to who was."""
        for job in self._by_themselves():
            job.pause() if self._busy() else job.resume()
        self._record()
        self._changed.notify_all()

    def _end(self, job: Job, outcome: Outcome) -> None:
        job.process, job.live = None, None
        if outcome.state == "failed":
            job.error = str(outcome.payload)
        elif outcome.state == "done":
            job.result = outcome.payload
        if outcome.state != "done":
            shutil.rmtree(job.folder, ignore_errors=True)
        job.state, job.ended_at = outcome.state, monotonic()
        self._arrange()
        job.ended.set()

    def _forget_old(self) -> None:
        for job in [job for job in self.all() if not job.active][:-ENDED]:
            self._remove(job)

    def _remove(self, job: Job) -> None:
        del self._jobs[job.id]
        shutil.rmtree(job.folder, ignore_errors=True)

    def _record(self) -> None:
        if not self._closed:
            titles = [job.title for job in self.all() if job.active and not job.automatic]
            with suppress(OSError):  # on a full disk the next server cannot say what it ended
                server_folder.write_jobs(self._folder, self._traces, [*self.ended_before, *titles])


@st.cache_resource(show_spinner=False)
def all_jobs() -> Jobs:
    return Jobs(workspace.scratch(), folders.traces(), memory=job_memory(), settle=SETTLE)
