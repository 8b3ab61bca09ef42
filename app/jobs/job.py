"""A job: what it does, where it is seen, how far it is."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TypeVar

from app.jobs.process import Process
from app.jobs.worker import Work

T = TypeVar("T")
ACTIVE = ("queued", "running", "paused")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job and its result are seen: a page, and the parameters of a link to it."""

    page: str
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Job:
    """State that a queue writes and pages read. Text is shown as it is: no markup."""

    id: str
    key: str
    title: str
    place: Place
    work: Work
    folder: Path
    automatic: bool = False
    state: str = "queued"  # running, paused, done, failed, cancelled
    done: int = 0
    total: int = 0  # 0: unknown
    unit: str = ""
    note: str = ""
    error: str = ""
    live: object = None  # what there is of the result
    result: object = None
    stop: threading.Event = field(default_factory=threading.Event)
    enough: threading.Event = field(default_factory=threading.Event)  # end, with what there is
    ended: threading.Event = field(default_factory=threading.Event)
    process: Process | None = None
    ended_at: float = 0.0
    dismissed: bool = False
    _since: tuple[float, int] | None = None  # when counting began, and at how much
    _paused_at: float = 0.0

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def fraction(self) -> float:
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """As fast as until now; None while nothing has been counted."""
        if self._since is None or self.state != "running":
            return None
        began, first = self._since
        if self.done <= first or not self.total:
            return None
        until = began + (monotonic() - began) * (self.total - first) / (self.done - first)
        return max(until - monotonic(), 0.0)

    def result_of(self, kind: type[T]) -> T | None:
        """What a job that is done has made."""
        return self.result if self.state == "done" and isinstance(self.result, kind) else None

    def update(self, values: Mapping[str, object]) -> None:
        if "total" in values and values["total"] != self.total:
            self._since = None
        for name, value in values.items():
            setattr(self, name, value)
        if self._since is None and self.total:
            self._since = monotonic(), self.done

    def pause(self) -> None:
        if self.state == "running" and self.process is not None:
            self.process.pause()
            self.state, self._paused_at = "paused", monotonic()

    def stand_still(self) -> None:
        """For a moment, which is not told."""
        if self.state == "running" and self.process is not None:
            self.process.pause()

    def go_on(self) -> None:
        if self.state == "running" and self.process is not None:
            self.process.resume()

    def resume(self) -> None:
        if self.state == "paused" and self.process is not None:
            if self._since is not None:
                began, first = self._since
                self._since = began + monotonic() - self._paused_at, first
            self.process.resume()
            self.state = "running"
