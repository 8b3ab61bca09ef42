"""The demo trace: shipped texts through the shipped model, as a job."""

from app import folders, workspace
from app.jobs import prompts
from app.jobs.queue import Job
from app.studies import ablation
from app.studies.reader import DEMO_TOKENS, HELDOUT, demo_documents
from data.store import discard_partial


def capture_demo(job: Job) -> None:
    tracer = prompts.tracer()
    documents = list(demo_documents(tracer, HELDOUT))
    path = folders.traces() / f"{workspace.DEMO}.duckdb"
    path.parent.mkdir(parents=True, exist_ok=True)
    discard_partial(path)  # of a start that was cut short
    described = {"file": HELDOUT.name, "tokens_per_domain": DEMO_TOKENS}
    description = tracer.description(workspace.DEMO, prompts=described)
    prompts.capture(job, tracer, documents, path, description)
    ablation.adopt(workspace.checkpoint(), path)
