"""A run of the user's own, by its link: after a reload, in another tab, when it has ended."""

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


def start(request: Request, trace: Trace) -> None:
    name = uuid.uuid4().hex
    work = partial(
        run,
        model=request.model.path,
        prompts=request.prompts,
        sampling=request.sampling,
        name=request.model.name,
        chat=request.chat,
    )
    place = Place("prompts", {"trace": trace.name, "run": name})
    all_jobs().start(_key(name), title(request.prompts), work, place=place)
    st.query_params["run"] = name
    st.session_state.pop("source", None)


def title(prompts: Prompts | Upload) -> str:
    """What runs: the name of the file, or how the text begins."""
    text = prompts.name if isinstance(prompts, Upload) else prompts.documents[0].text
    start = text[: 10 * TITLE_LENGTH]
    words = "".join(one if one.isprintable() else " " for one in start).split()
    line = " ".join(words)
    if len(line) > TITLE_LENGTH:
        line = line[:TITLE_LENGTH].rsplit(" ", 1)[0].rstrip(".,;:") + "…"
    return f"Running “{line}”"


def linked_job() -> Job | None:
    """That of the link, or the last of this tab."""
    name = st.query_params.get("run") or st.session_state.get("run", "")
    if not name:
        return None
    job = all_jobs().get(_key(name))
    if job is None:
        st.info(
            "The run of this link is not there any more: a run that nobody saved ends with the "
            "server. Run the text again."
        )
        st.session_state.pop("run", None)
        st.query_params.pop("run", None)
        return None
    st.query_params["run"] = st.session_state.run = name
    return job


def _key(name: str) -> str:
    return f"run|{name}"
