"""The demo trace as a job."""

from functools import partial
from pathlib import Path

from app.jobs import commands, models, prompts
from app.jobs.worker import Progress
from app.sidecars import KINDS
from app.studies import demo_recording
from app.studies.demo import make_demo
from data.sidecar import remove_sidecars


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
    demo_recording.replace(path, own, model, complete=partial(_complete, progress))
    remove_sidecars(own, KINDS)
    own.unlink()


def _complete(progress: Progress, trace: Path) -> None:
    """What pages look for beside the demo."""
    for command in (commands.summarize, commands.project, commands.information, commands.cache):
        command(progress, trace)
