"""The demo trace as a job."""

from functools import partial
from pathlib import Path

from app import folders
from app.jobs import prompts
from app.jobs.queue import Job
from app.studies.demo import make_demo


def run(job: Job, model: Path) -> None:
    make_demo(
        prompts.tracer(model),
        folders.demo(),
        on_progress=partial(prompts.count_texts, job),
        cancelled=job.stop.is_set,
    )
