"""Which experts of two models correspond by their weights, as a job."""

from functools import partial

from app.jobs import models
from app.jobs.worker import Progress
from app.studies.expert_weights import MatchedModels, TracedModel, match_models


def run(progress: Progress, first: TracedModel, second: TracedModel) -> MatchedModels:
    def advance(done: int, total: int) -> None:
        progress.checkpoint()
        progress.advance(done, total=total, unit="layers")

    progress.tell(note="finding the weights that made the traces")
    return match_models(first, second, load=partial(models.tracer, progress), on_progress=advance)
