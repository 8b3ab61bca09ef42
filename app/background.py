"""Jobs that start by themselves: the demo trace, and what is computed beside a trace."""

import shutil
import sys

import streamlit as st

from app import ablation, jobs, progress, prompt_runs, workspace
from app.jobs import Job, all_jobs
from app.tracing import DEMO_TOKENS, HELDOUT, demo_documents
from app.workspace import TraceFile
from data.sidecar import sidecar_path
from data.store import discard_partial

PROJECTIONS = ("tokens", "prompts", "experts")
COMMAND = (sys.executable, "-c", "from app.cli import main; main()")


def build_demo() -> None:
    """First start: the demo trace is made from shipped text by the shipped model."""
    if not prompt_runs.model_found() or not HELDOUT.is_file():
        st.info("There is no trace yet. Make one from a text, CSV, JSONL or Parquet file:")
        st.code("routescope capture prompts.txt --out traces/mine.duckdb", language="bash")
        return
    job = all_jobs().get("demo") or all_jobs().start("demo", _DEMO, _capture_demo, lane="model")
    if job.active:
        st.info("First start: the shipped model reads its demo texts. This takes a minute or two.")
        progress.show(job, key="demo")
        return
    progress.outcome(job, failed="The demo trace could not be made.")
    if st.button("Make the demo trace", type="primary"):
        all_jobs().forget("demo")
        st.rerun()


_DEMO = "Making the demo trace"


def _capture_demo(job: Job) -> None:
    tracer = prompt_runs.tracer()
    documents = list(demo_documents(tracer, HELDOUT))
    path = workspace.folder() / f"{workspace.DEMO}.duckdb"
    path.parent.mkdir(parents=True, exist_ok=True)
    discard_partial(path)  # of a start that was cut short
    described = {"file": HELDOUT.name, "tokens_per_domain": DEMO_TOKENS}
    description = tracer.description(workspace.DEMO, prompts=described)
    prompt_runs.capture(job, tracer, documents, path, description)
    ablation.adopt(workspace.checkpoint(), path)


def project(trace: TraceFile) -> Job | None:
    """Start the projection of a trace unless it is made or was tried; the job if it was started."""
    if all(sidecar_path(trace.path, what).is_file() for what in PROJECTIONS):
        return None
    key = f"project|{trace.identity}"
    return all_jobs().get(key) or all_jobs().start(
        key, "Projecting", lambda job: _run(job, trace, "project"), lane="projection"
    )


def information(trace: TraceFile) -> Job | None:
    """The same for what the domain tells beyond the token."""
    if sidecar_path(trace.path, "information").is_file():
        return None
    key = f"information|{trace.identity}"
    return all_jobs().get(key) or all_jobs().start(
        key, "Subjects beyond words", lambda job: _run(job, trace, "information"), lane="projection"
    )


def _run(job: Job, trace: TraceFile, command: str) -> None:
    """In a process of its own: numba threads cannot hurt the pages, and cancel is real."""
    slower = ("nice", "-n", "10") if shutil.which("nice") else ()
    jobs.run_command(job, [*slower, *COMMAND, command, str(trace.path)])
