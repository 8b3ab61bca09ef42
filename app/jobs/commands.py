"""Commands of `routescope` as the work of a job, by the lines that they print."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from app.jobs.worker import Progress

STAGE = re.compile(r"stage (\d+)/(\d+): ")


class _Lines(StringIO):
    """`stage 2/4: what` moves the bar on; any line is the note, and a place to stop at."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def write(self, text: str) -> int:
        self._progress.checkpoint()
        if line := text.strip():
            self._progress.tell(note=line)
        if stage := STAGE.match(line):
            self._progress.advance(int(stage[1]) - 1, total=int(stage[2]), unit="stages")
        return len(text)


def project(progress: Progress, trace: Path) -> None:
    from app.commands.project import project

    with redirect_stdout(_Lines(progress)):
        project(trace)


def information(progress: Progress, trace: Path) -> None:
    from app.commands.information import information

    with redirect_stdout(_Lines(progress)):
        information(trace)


def summarize(progress: Progress, trace: Path) -> None:
    from app.commands.summarize import summarize

    with redirect_stdout(_Lines(progress)):
        summarize(trace)


def index(progress: Progress, trace: Path) -> None:
    from app.commands.index import index

    with redirect_stdout(_Lines(progress)):
        index(trace)


def cache(progress: Progress, trace: Path) -> None:
    from app.commands.cache import cache

    with redirect_stdout(_Lines(progress)):
        cache(trace)
