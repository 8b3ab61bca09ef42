"""What the page shows of a trace until its map is made."""

import streamlit as st

from analysis import first_look as analysis
from app import sidecars
from app.commands.project import SEED
from app.jobs.job import Job
from app.trace import BY_IDENTITY, Trace
from app.views.shared import controls, left_out, progress
from app.views.shared.unusable import draw_unusable
from data.sidecar import REPLACED, Absent, Sidecar, look_at


def map_or_first_look(trace: Trace, what: str, job: Job | None) -> Sidecar:
    """And what became of the job that makes the map. Stops the page where there is nothing to be
    mapped, or a file in the way."""
    kind = sidecars.MAPS[what]
    found = trace.beside(kind)
    missing = isinstance(found, Absent)
    if job and job.active:
        progress.follow(
            job,
            key="project",
            until=lambda: missing and isinstance(look_at(trace.path, kind, of=trace.info), dict),
        )
    elif job:
        progress.outcome(job, failed="The map could not be made.")
    if isinstance(found, Sidecar):
        return found
    if found.reason not in REPLACED:
        draw_unusable(trace, kind)
        left_out.stop()
    draw_unusable(trace, *sidecars.MAPS.values())  # one of them keeps all from being made
    if not (job and job.active):
        st.info("There is no map of these points yet. Make it with `routescope project`.")
    try:
        return first_look(trace, what)
    except ValueError as error:
        controls.note(str(error))
        left_out.stop()


@st.cache_resource(max_entries=6, show_spinner=False, hash_funcs=BY_IDENTITY)
def first_look(trace: Trace, what: str) -> Sidecar:
    """Not to be changed. ValueError: the trace has nothing to be mapped."""
    with trace.cursor() as con:
        drawn = analysis.first_look(con, trace.info, what, seed=SEED)
    return Sidecar(drawn.frame, drawn.parameters)
