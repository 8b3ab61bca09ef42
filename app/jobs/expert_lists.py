"""A list of experts of a large trace, as a job."""

from pathlib import Path

from app.jobs.worker import Progress
from app.studies.expert_lists.making import make
from app.studies.expert_lists.subject import ExpertList, Settings, Subject
from data.store import open_trace


def run(
    progress: Progress, trace: Path, settings: Settings, later: Path | None, model: Path | None
) -> ExpertList:
    progress.tell(note="reading the choices of all texts")
    with open_trace(trace, rows=False) as con:
        subject, other = Subject(con), None
        if later is not None:
            progress.checkpoint()
            with open_trace(later, rows=False) as con_later:
                other = Subject(con_later)
        progress.checkpoint()
        progress.tell(note="choosing and measuring the list")
        return make(subject, settings, later=other, model=model)
