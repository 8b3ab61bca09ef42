"""What a page does not have yet, how far it is, and the page again when it is there."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from app import stored
from app.jobs import beside
from app.jobs.commands import STAGE
from app.jobs.job import Job
from app.jobs.queue import all_jobs
from app.summary_kinds import BY_SUMMARY, REPLICATION
from app.trace import Trace
from app.views.shared import progress
from data.sidecar_kind import Kind

WHAT = "Intervals and tests"


def draw(trace: Trace, kinds: Sequence[Kind] = BY_SUMMARY) -> None:
    """A line on what is still being computed; nothing where the page has all of it."""
    if not (missing := stored.coming(trace, kinds)):
        return
    job = all_jobs().get(beside.summary_key(trace))
    if job is None:  # a file is in the way: the page says which
        return
    if job.active:
        _follow(trace, job, missing)
    else:
        _ended(trace, job)


@st.fragment(run_every=1.0)
def _follow(trace: Trace, job: Job, missing: list[Kind]) -> None:
    """The page runs again when anything new is there, and when the job has ended."""
    if not job.active or stored.coming(trace, missing) != missing:
        st.rerun()
    whole = missing == [REPLICATION]  # which the figures do without
    what = "Specialists in other texts" if whole else f"Estimates. {WHAT}"
    words = escape(f"{what} are still being computed: {_step(job)}.")
    st.html(f'<p class="rs-coming">{words}{progress.bar(job.fraction)}</p>')


def _step(job: Job) -> str:
    """What a running command says of its stage, else where the job stands."""
    stage = STAGE.match(job.note) if job.state == "running" else None
    if stage is None:
        return progress.status(job)
    return f"step {stage[1]} of {stage[2]}, {job.note[stage.end() :]}"


def _ended(trace: Trace, job: Job) -> None:
    with st.container(horizontal=True, wrap=False, vertical_alignment="center"):
        how = "were cancelled" if job.state == "cancelled" else f"failed: {job.error}"
        if job.state == "done":  # and what it made is gone again
            how = "are missing"
        st.html(f'<p class="rs-coming">{escape(f"Estimates. {WHAT} {how}")}</p>')
        if st.button("Compute them", key="summary_again"):
            all_jobs().forget(job.key)
            st.rerun()
