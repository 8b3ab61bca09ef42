"""The first start: no trace yet, so the demo is made."""

from functools import partial

import streamlit as st

from app import folders, sidecars, workspace
from app.jobs import demo, models
from app.jobs.job import Place
from app.jobs.queue import all_jobs
from app.studies.reader import HELDOUT
from app.views.shared import controls, progress
from app.workspace import TraceFile
from data.sidecar import remove_sidecars

_DEMO = "Making the demo trace"


def build_demo() -> None:
    """First start: the demo trace is made from shipped text by the shipped model."""
    if not models.has_model(workspace.checkpoint()) or not HELDOUT.is_file():
        st.info("There is no trace yet. Make one from a text, CSV, JSONL or Parquet file:")
        st.code("routescope capture prompts.txt --out traces/mine.duckdb", language="bash")
        return
    work = partial(demo.run, model=workspace.checkpoint(), path=folders.demo())
    job = all_jobs().get("demo") or all_jobs().start("demo", _DEMO, work, place=Place("overview"))
    if job.active:
        st.info("First start: the shipped model reads its demo texts. This takes a minute or two.")
        progress.follow(job, key="demo")
        return
    progress.outcome(job, failed="The demo trace could not be made.")
    if st.button("Make the demo trace", type="primary"):
        all_jobs().forget("demo")
        st.rerun()


def offer_again(file: TraceFile) -> None:
    """Of a demo trace that cannot be opened, such as one of an older format."""
    if st.button("Make the demo trace again", type="primary"):
        try:
            remove_sidecars(file.path, sidecars.KINDS)
            file.path.unlink(missing_ok=True)
        except OSError as error:
            controls.refused("The demo trace cannot be removed.", error)
            return
        st.rerun()
