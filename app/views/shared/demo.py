"""The demo: there at the first start as it was recorded, then as this machine captures it."""

from functools import partial
from html import escape

import streamlit as st

from app import folders, sidecars, workspace
from app.jobs import beside, demo, models
from app.jobs.job import Job, Place
from app.jobs.queue import all_jobs
from app.studies import demo_recording
from app.studies.reader import HELDOUT
from app.trace import Trace
from app.views.shared import controls, left_out, progress
from app.workspace import TraceFile
from data.sidecar import remove_sidecars

_DEMO = "Making the demo trace"
RECORDED = "The demo as recorded for the release, without mixing weights."


def build_demo() -> None:
    """First start: the recorded demo, or one that another model makes of the shipped texts."""
    if not models.has_model(workspace.checkpoint()) or not HELDOUT.is_file():
        st.info("There is no trace yet. Make one from a text, CSV, JSONL or Parquet file:")
        st.code("routescope capture prompts.txt --out traces/mine.duckdb", language="bash")
        return
    if _is_shipped_model() and _is_laid_down():
        st.rerun()
    work = partial(demo.run, model=workspace.checkpoint(), path=folders.demo())
    job = all_jobs().get("demo") or all_jobs().start("demo", _DEMO, work, place=Place("overview"))
    if job.active:
        st.info("First start: the model reads the demo's texts. This takes a minute or two.")
        progress.follow(job, key="demo")
        return
    progress.outcome(job, failed="The demo trace could not be made.")
    if st.button("Make the demo trace", type="primary"):
        all_jobs().forget("demo")
        st.rerun()


def _is_shipped_model() -> bool:
    return workspace.checkpoint() == workspace.SHIPPED_MODEL


def _is_laid_down() -> bool:
    try:
        with st.spinner("Unpacking the demo…"):
            return demo_recording.lay_down(folders.demo(), workspace.checkpoint())
    except (OSError, ValueError) as error:
        controls.refused("The demo cannot be unpacked.", error)
        left_out.stop()


def is_recorded(trace: Trace) -> bool:
    return trace.path == folders.demo() and demo_recording.is_recording(trace.info)


def replace_recorded(trace: Trace) -> None:
    """The recorded demo is on show: one line says so, while this machine captures its own."""
    if not _is_shipped_model():
        controls.note(RECORDED)
        return
    job = beside.own_demo(trace)
    if job.active:
        _follow(job)
        return
    if job.state == "done":  # since this run has opened the recording
        st.rerun()
    with st.container(horizontal=True, wrap=False, vertical_alignment="center"):
        how = f"failed: {job.error}" if job.state == "failed" else "was cancelled."
        controls.note(f"{RECORDED} This machine's own capture {how}")
        if st.button("Capture it here", key="own_demo_again"):
            all_jobs().forget(job.key)
            st.rerun()


@st.fragment(run_every=1.0)
def _follow(job: Job) -> None:
    """The page runs again when the job has ended: the demo is another file then."""
    if not job.active:
        st.rerun()
    words = f"{RECORDED} This machine's own capture, which has them, is being made."
    st.html(f'<p class="rs-note">{escape(words)}</p>')


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
