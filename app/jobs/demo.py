"""The demo trace as a job."""

from functools import partial
from pathlib import Path

from app.jobs import models, prompts
from app.jobs.worker import Progress
from app.studies import demo_recording
from app.studies.demo import make_demo


def run(progress: Progress, model: Path, path: Path) -> None:
    make_demo(
        models.tracer(progress, model),
        path,
        on_progress=partial(prompts.count_texts, progress),
        cancelled=progress.stop.is_set,
    )


def replace_recording(progress: Progress, model: Path, path: Path) -> None:
    """Beside the recording at `path`, which is shown meanwhile, then in its place."""
    own = progress.folder / path.name
    run(progress, model, own)
    progress.tell(note="comparing it with the recording")
    demo_recording.replace(path, own, model)
    own.unlink()
