"""What the subject of a text tells about its experts beyond the words: computed beside it."""

import streamlit as st

from app import sidecars
from app.jobs import beside
from app.trace import Trace
from app.views.shared import controls, progress
from app.views.shared.drawing import draw
from app.views.shared.panel import Panel
from app.views.shared.unusable import draw_unusable
from data.sidecar import REPLACED, Absent


def draw_beyond_words(trace: Trace, panel: Panel | None) -> None:
    """The panel, or why there is none yet."""
    if panel is not None:
        draw(panel, subject=trace.name, key="information")
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
            "The result appears here when it is ready; `routescope information` makes it too."
        )
