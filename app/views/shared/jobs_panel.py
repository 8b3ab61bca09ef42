"""The jobs of this server, in the sidebar of every page and tab."""

from html import escape

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.jobs.queue import Job, all_jobs
from app.views.shared import progress

OFTEN, SELDOM = 1.0, 4.0  # seconds between looks, while there is something to see and else
ENDED = 3  # jobs shown of those that ended
WORDS = {"done": "Done", "failed": "Failed", "cancelled": "Cancelled"}


def draw() -> None:
    """What runs, what waits and for what, what ended and where its result is."""
    active = any(job.active for job in all_jobs().all())
    with st.sidebar:
        st.fragment(_jobs, run_every=OFTEN if active else SELDOM)()


def _jobs() -> None:
    jobs = all_jobs()
    active = [job for job in jobs.all() if job.active]
    ended = [job for job in jobs.all() if not job.active and not job.dismissed][-ENDED:]
    if not (active or ended or jobs.ended_before):
        return
    with st.container(key="jobs", gap="xsmall"):
        st.html('<h2 class="rs-jobs">Jobs</h2>')
        for job in sorted(active, key=lambda job: job.state != "running"):
            _active(job)
        for job in reversed(ended):
            _ended(job)
        if jobs.ended_before:
            titles = "; ".join(jobs.ended_before)
            _line("The server was restarted, which ended", titles)
        if ended or jobs.ended_before:
            st.button("Clear", key="jobs_clear", type="tertiary", on_click=jobs.dismiss)


def _active(job: Job) -> None:
    with _row():
        _line(job.title, progress.status(job), share=job.fraction if job.total else None)
        st.button(
            "Cancel",
            key=f"job_cancel_{job.id}",
            type="tertiary",
            disabled=job.stop.is_set(),
            on_click=all_jobs().cancel,
            args=(job,),
        )


def _ended(job: Job) -> None:
    with _row():
        _line(job.title, f"{WORDS[job.state]}{': ' + job.error if job.error else ''}")
        if job.state == "done":
            page = f"views/{job.place.page}/page.py"
            st.page_link(page, label="Open", query_params=dict(job.place.query))


def _row() -> DeltaGenerator:
    return st.container(
        horizontal=True,
        wrap=False,
        vertical_alignment="top",
        horizontal_alignment="distribute",
        gap="small",
    )


def _line(title: str, text: str, *, share: float | None = None) -> None:
    words = f"<b>{escape(title)}</b><br>{escape(text[:1].upper() + text[1:])}"
    st.html(f'<p class="rs-job">{words}{progress.bar(share)}</p>')
