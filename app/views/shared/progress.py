"""A job on the page: how far it is, and a button that stops it."""

from collections.abc import Callable
from html import escape

import streamlit as st

from app.jobs.job import Job
from app.jobs.queue import all_jobs


def outcome(job: Job, *, failed: str) -> None:
    """What became of a job that is not active any more, unless it went well."""
    if job.state == "failed":
        st.error(failed)
        st.code(job.error, language=None, wrap_lines=True)
    elif job.state == "cancelled":
        st.info("Cancelled. Nothing was stored.")


@st.fragment(run_every=0.5)
def follow(job: Job, *, key: str, until: Callable[[], bool] = lambda: False) -> None:
    """How far a job is; the page runs again when it ends, or has done what is waited for."""
    if not job.active or until():
        st.rerun()
    words = escape(f"{job.title}: {status(job)}")
    with st.container(horizontal=True, wrap=False, vertical_alignment="bottom"):
        st.html(f'<p class="rs-progress">{words}{bar(job.fraction)}</p>')
        pressed = st.button("Cancel", key=f"cancel_{key}", disabled=job.stop.is_set())
    if pressed:
        all_jobs().cancel(job)
        st.rerun()


def bar(share: float | None) -> str:
    """As HTML; empty where nothing is counted."""
    return "" if share is None else f'<i class="rs-bar"><u style="width: {share:.0%}"></u></i>'


def status(job: Job) -> str:
    """Where an active job stands."""
    if job.stop.is_set():
        return "stopping"
    if job.state != "running":
        ahead = all_jobs().ahead_of(job)
        how = "paused, goes on" if job.state == "paused" else "waits, begins"
        return f"{how} after {ahead.title[:1].lower()}{ahead.title[1:]}" if ahead else "starting"
    if not job.total:
        return f"{job.done:,} {job.unit}" if job.done else job.note or "starting"
    counted = f"{job.done:,} of {job.total:,} {job.unit}"
    left = job.seconds_left
    return counted if left is None else f"{counted}, about {duration(left)} left"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.0f} h"
