"""Experts left out of the model of a trace, as a job."""

from pathlib import Path

from app.jobs import models
from app.jobs.worker import Progress
from app.sidecars import CAUSES
from app.studies import ablation, claims
from app.trace import open_trace
from app.workspace import JOB_SECONDS, trace_file
from data.sidecar import require_replaceable

TOKENS = 4_000  # a domain, at least
SEED = 0


def run(progress: Progress, model: Path, trace_path: Path, text: str) -> None:
    trace = open_trace(trace_file(trace_path))
    info = trace.info
    ablation.require_usable(model, info)
    require_replaceable(trace.path, CAUSES, of=info)
    with trace.cursor(seconds=JOB_SECONDS) as con:
        experts = claims.parse_experts(text, info) if text.strip() else None
        halves = claims.halves(con, info)
        tracer = models.tracer(progress, model)
        plan = ablation.plan(
            con,
            info,
            halves,
            claims.targets_of(halves.lifts, experts, top=1),
            tokens_per_domain=TOKENS,
            seed=SEED,
        )
    progress.tell(title=plan.summary(plan.seconds(tracer)))
    rows = ablation.ablate(
        tracer,
        plan,
        on_progress=lambda done, total: progress.advance(done, total=total, unit="batches"),
        cancelled=progress.stop.is_set,
    )
    parameters = {"seed": SEED, "tokens_per_domain": TOKENS}
    ablation.store(trace.path, info, rows, parameters)
