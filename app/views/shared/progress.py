"""A running job on the page: how far it is, and a button that stops it."""

import streamlit as st

from app.jobs.queue import Job


def outcome(job: Job, *, failed: str) -> None:
    """What became of a job that is not running any more, unless it went well."""
    if job.state == "failed":
        st.error(failed)
        st.code(job.error, language=None)
    elif job.state == "cancelled":
        st.info("Cancelled. Nothing was stored.")


@st.fragment(run_every=0.5)
def follow(job: Job, *, key: str) -> None:
    """How far a running job is; the page runs again when it ends."""
    if not job.active:
        st.rerun()
    text, button = st.columns([6, 1], vertical_alignment="bottom")
    text.progress(job.fraction, text=f"{job.title}: {_status(job)}")
    if button.button("Cancel", key=f"cancel_{key}", disabled=job.stop.is_set(), width="stretch"):
        job.stop.set()


def _status(job: Job) -> str:
    if job.stop.is_set():
        return "stopping"
    if job.state == "queued":
        return "waiting to start"
    if job.total:
        return f"{job.done:,} of {job.total:,} {job.unit}"
    return "starting"
