"""A list of experts of a trace: made at once, or by a job where the trace is large."""

from functools import partial
from pathlib import Path

import streamlit as st

from app import workspace
from app.jobs import expert_lists, models
from app.jobs.job import Place
from app.jobs.queue import all_jobs
from app.studies import redundancy
from app.studies.expert_lists.making import make
from app.studies.expert_lists.subject import ExpertList, Settings, Subject
from app.studies.summary import is_large
from app.trace import BY_IDENTITY, Trace
from app.views.shared import controls, left_out, progress


def made(trace: Trace, settings: Settings, later: Trace | None) -> ExpertList:
    """Stops the page where it cannot be made, and while it is being made."""
    if any(is_large(of.info) for of in (trace, later) if of is not None):
        return _by_job(trace, settings, later)
    with st.spinner("Choosing and measuring the list…"):
        found = at_once(trace, settings, later)
    if isinstance(found, str):
        st.info(controls.unmarked(f"{found[0].upper()}{found[1:]}."))
        left_out.stop()
    return found


def _model(settings: Settings) -> Path | None:
    """Of this workspace, whose similarities may be known."""
    folder = workspace.checkpoint()
    return folder if settings.kind == "merge" and models.has_model(folder) else None


def _known(settings: Settings) -> str:
    """Tells similarities of a model from others, and from none: a list shows them."""
    folder = _model(settings)
    try:
        found = None if folder is None else (folder / redundancy.FILE).stat()
    except OSError:
        found = None
    return "" if found is None else f"{folder}|{found.st_mtime_ns}|{found.st_size}"


def at_once(trace: Trace, settings: Settings, later: Trace | None = None) -> ExpertList | str:
    """Or why there is none."""
    return _at_once(trace, settings, later, _model(settings), _known(settings))


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs=BY_IDENTITY)
def _at_once(
    trace: Trace, settings: Settings, later: Trace | None, model: Path | None, known: str
) -> ExpertList | str:
    """`known` is part of the key."""
    try:
        with trace.cursor() as con:
            subject, other = Subject(con), None
            if later is not None:
                with later.cursor() as con_later:
                    other = Subject(con_later)
            return make(subject, settings, later=other, model=model)
    except ValueError as error:
        return str(error)


def _by_job(trace: Trace, settings: Settings, later: Trace | None) -> ExpertList:
    key = f"experts|{trace.identity}|{later and later.identity}|{settings}|{_known(settings)}"
    job = all_jobs().get(key)
    if job is not None and (found := job.result_of(ExpertList)) is not None:
        return found
    if job is not None and job.active:
        progress.follow(job, key="experts")
        left_out.stop()
    if job is not None:
        progress.outcome(job, failed="The list could not be made.")
    st.info("This trace is large: its list is made beside the page, in seconds to minutes.")
    if st.button("Make the list", type="primary"):
        if job is not None:
            all_jobs().forget(key)
        work = partial(
            expert_lists.run,
            trace=trace.path,
            settings=settings,
            later=None if later is None else later.path,
            model=_model(settings),
        )
        place = Place("expert_lists", {"trace": trace.name, "list": settings.kind})
        all_jobs().start(key, f"Experts to {settings.kind} of {trace.name}", work, place=place)
        st.rerun()
    left_out.stop()
