"""What the subject of a text tells about its experts beyond the words: computed beside it."""

from html import escape

import streamlit as st

from app import sidecars
from app.jobs import beside
from app.jobs.job import Job
from app.trace import Trace
from app.views.shared import controls, progress
from app.views.shared.drawing import draw
from app.views.shared.panel import Panel
from app.views.shared.unusable import draw_unusable
from app.views.vocabulary import tables
from data.sidecar import REPLACED, Absent


def draw_rest(trace: Trace) -> None:
    """That the other layers are still being counted, until they are stored."""
    if tables.is_whole(trace):
        return
    job = beside.information(trace)
    if job and job.active:
        _follow_rest(trace, job)
    else:
        controls.note("routescope information counts the words of all layers.")


@st.fragment(run_every=1.0)
def _follow_rest(trace: Trace, job: Job) -> None:
    if not job.active or tables.is_whole(trace):
        st.rerun()
    words = escape(f"The other layers are still being counted: {progress.status(job)}.")
    st.html(f'<p class="rs-progress">{words}{progress.bar(job.fraction)}</p>')


def draw_beyond_words(trace: Trace, panel: Panel | None) -> None:
    """The panel, or why there is none yet."""
    if panel is not None:
        draw(panel, subject=trace, key="information")
        return
    st.markdown("**Beyond the word**")
    if len(trace.domains) < 2:
        controls.note(
            "All texts belong to one domain or are unlabelled. Label texts of two or more domains "
            "to see what the subject adds to the word."
        )
        return
    job = beside.information(trace)
    if job and job.active:
        progress.follow(job, key="information")
    elif job:
        progress.outcome(job, failed="This could not be computed.")
    draw_unusable(trace, sidecars.INFORMATION)
    stored = trace.beside(sidecars.INFORMATION)
    if isinstance(stored, Absent) and stored.reason in REPLACED:
        controls.note(
            "The result appears here when it is ready; routescope information makes it too."
        )
