"""How similar the experts of a model are, as a job."""

from pathlib import Path

from app.jobs import models
from app.jobs.worker import Progress
from app.studies import redundancy
from app.studies.reader import HELDOUT


def run(progress: Progress, model: Path) -> None:
    tracer = models.tracer(progress, model)

    def advance(done: int, total: int) -> None:
        progress.checkpoint()
        progress.advance(done, total=total, unit="layers")

    used = redundancy.calibration(tracer.model, HELDOUT)
    redundancy.store(model, redundancy.measure(tracer, used, on_progress=advance))
