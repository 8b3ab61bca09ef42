"""The jobs of this server, in the sidebar of every page and tab."""

from html import escape
from time import monotonic

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.jobs.job import Job
from app.jobs.queue import all_jobs
from app.views.shared import progress

WAITING, ENDED = 2, 2  # jobs shown of those that wait, and of those that ended
STILL = 5.0  # seconds for which a job that ends moves no other: a second click meets nothing else
WORDS = {"done": "Done", "failed": "Failed", "cancelled": "Cancelled"}


def draw() -> None:
    """What runs, what waits and for what, what ended and where its result is."""
    with st.sidebar:
        _jobs()


@st.fragment(run_every=1.0)  # a job may begin in any tab
def _jobs() -> None:
    jobs = all_jobs()
    shown, more = _shown(jobs.all())
    if not (shown or jobs.ended_before):
        return
    with st.container(key="jobs", gap="xsmall"):
        st.html('<h2 class="rs-jobs">Jobs</h2>')
        for job in shown:
            _active(job) if job.active else _ended(job)
        if more:
            st.html(f'<p class="rs-job">and {more} more</p>')
        if titles := jobs.ended_before:
            others = f" and {len(titles) - ENDED:,} more" if len(titles) > ENDED else ""
            _line("The server was restarted, which ended", "; ".join(titles[:ENDED]) + others)
        if titles or not all(job.active for job in shown):
            st.button("Clear the list", key="jobs_clear", type="tertiary", on_click=jobs.dismiss)


def _shown(jobs: list[Job]) -> tuple[list[Job], int]:
    """In the order in which they were started, and how many more wait."""
    ended = sorted(
        (job for job in jobs if not job.active and not job.dismissed), key=lambda job: job.ended_at
    )
    just_now = sum(monotonic() - job.ended_at < STILL for job in ended)
    waiting = sorted(
        (job for job in jobs if job.state in ("queued", "paused")), key=lambda job: job.automatic
    )
    hidden = {*ended[: -(ENDED + just_now)], *waiting[WAITING:]}
    listed = {*ended, *(job for job in jobs if job.active)} - hidden
    return [job for job in jobs if job in listed], len(waiting[WAITING:])


def _active(job: Job) -> None:
    with _row():
        _line(job.title, progress.status(job), share=job.fraction if job.total else None)
        with _action():
            if not job.stop.is_set():
                st.button(
                    "Cancel",
                    key=f"job_cancel_{job.id}",
                    type="tertiary",
                    on_click=all_jobs().cancel,
                    args=(job,),
                )


def _ended(job: Job) -> None:
    with _row():
        _line(job.title, f"{WORDS[job.state]}{': ' + job.error if job.error else ''}")
        with _action():
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


def _action() -> DeltaGenerator:
    """As wide with a button as without, so that no line of text moves."""
    return st.container(horizontal=True, horizontal_alignment="right", width=46)


def _line(title: str, text: str, *, share: float | None = None) -> None:
    words = f"<b>{escape(title)}</b><br>{escape(text[:1].upper() + text[1:])}"
    st.html(f'<p class="rs-job">{words}{progress.bar(share)}</p>')
