"""Runs of the user's own, by their link: after a reload, in another tab, when they have ended."""

import uuid
from functools import partial

import streamlit as st

from app.jobs.job import Job, Place
from app.jobs.prompts import Upload, run
from app.jobs.queue import all_jobs
from app.trace import Trace
from app.views.prompts.form import Request
from data.prompts import Prompts

TITLE_LENGTH = 30  # characters of what runs
FIRST, SECOND = SIDES = "run", "beside"  # in a link; the second only beside the first


def start(request: Request, trace: Trace, *, side: str = FIRST) -> None:
    """In place of the run of that side; the other one stays."""
    name = uuid.uuid4().hex
    work = partial(
        run,
        model=request.model.path,
        prompts=request.prompts,
        sampling=request.sampling,
        name=request.model.name,
        chat=request.chat,
    )
    st.query_params[side] = name
    sides = {key: st.query_params[key] for key in SIDES if key in st.query_params}
    place = Place("prompts", {"trace": trace.name, **sides})
    all_jobs().start(_key(name), title(request.prompts), work, place=place)
    st.session_state.pop("source", None)
    forget("of_pair")


def title(prompts: Prompts | Upload) -> str:
    """What runs: the name of the file, or how the text begins."""
    text = prompts.name if isinstance(prompts, Upload) else prompts.documents[0].text
    start = text[: 10 * TITLE_LENGTH]
    words = "".join(one if one.isprintable() else " " for one in start).split()
    line = " ".join(words)
    if len(line) > TITLE_LENGTH:
        line = line[:TITLE_LENGTH].rsplit(" ", 1)[0].rstrip(".,;:") + "…"
    return f"Running “{line}”"


def linked_jobs() -> dict[str, Job]:
    """Those of the link, or the last of this tab, by side."""
    linked = any(side in st.query_params for side in SIDES)
    known = st.query_params if linked else st.session_state
    names = {side: str(known.get(side) or "") for side in SIDES}
    jobs = {side: all_jobs().get(_key(name)) for side, name in names.items() if name}
    if None in jobs.values():
        st.info(
            "A run of this link is not there any more: a run that nobody saved ends with the "
            "server. Run the text again."
        )
    found = {side: job for side, job in jobs.items() if job is not None}
    for side in SIDES:
        if side in found:
            st.query_params[side] = st.session_state[side] = names[side]
        else:
            forget(side)
    return found


def forget(name: str) -> None:
    """A side, or what is chosen on the page."""
    st.session_state.pop(name, None)
    st.query_params.pop(name, None)


def _key(name: str) -> str:
    return f"run|{name}"
