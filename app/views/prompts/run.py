"""Runs of the user's own, by their link: while they run, and ever after."""

import uuid
from contextlib import suppress
from functools import partial

import streamlit as st

from app import prompt_runs
from app.jobs.job import Job, Place
from app.jobs.prompts import Upload, run
from app.jobs.queue import all_jobs
from app.prompt_runs import Run, in_one_line
from app.trace import Trace, open_trace
from app.views.prompts import given
from app.views.prompts.form import Request
from app.views.shared import controls, left_out
from app.workspace import run_file
from data.prompts import Prompts

TITLE_LENGTH = 30  # characters of what runs
FIRST, SECOND = SIDES = "run", "beside"  # in a link; the second only beside the first
CHOSEN = ("source", "of_pair", "run_text", "beside_text", "run_token")  # for the runs of the link
MISSING = (
    "A run of this link is not there: it was deleted, or the server ended before it was finished. "
    "Run the text again."
)


INTERRUPTED = "The server ended while this ran; press Run to run it again."


def start(request: Request, trace: Trace, *, side: str = FIRST) -> None:
    """In place of the run of that side; the other one stays."""
    name = uuid.uuid4().hex
    words = title(request.prompts)
    work = partial(
        run,
        model=request.model.path,
        prompts=request.prompts,
        sampling=request.sampling,
        out=prompt_runs.folder() / name,
        title=words,
        name=request.model.name,
        chat=request.chat,
    )
    prompt_runs.begin(prompt_runs.folder() / name, given.kept(request))
    if interrupted := st.session_state.pop(given.OF, None):
        prompt_runs.end(prompt_runs.folder() / interrupted)
    st.query_params[side] = name
    sides = {key: st.query_params[key] for key in SIDES if key in st.query_params}
    place = Place("prompts", {"trace": trace.name, **sides})
    all_jobs().start(_key(name), f"Running “{words}”", work, place=place)
    st.session_state.pop("source", None)
    forget("of_pair")


def title(prompts: Prompts | Upload) -> str:
    """What runs: the name of the file, or how the text begins."""
    text = prompts.name if isinstance(prompts, Upload) else prompts.documents[0].text
    line = in_one_line(text[: 10 * TITLE_LENGTH])
    if len(line) > TITLE_LENGTH:
        line = line[:TITLE_LENGTH].rsplit(" ", 1)[0].rstrip(".,;:") + "…"
    return line or "…"


def show(run: Run, *, side: str = FIRST) -> None:
    """In a callback: alone, or beside the first."""
    for name in CHOSEN if side == SECOND else (*CHOSEN, SECOND):
        forget(name)
    st.query_params[side] = run.id


def give_back() -> bool:
    """Whether a link leads to a run that the server did not survive: what was given to it is in the
    form then."""
    names = [str(st.query_params.get(side, "")) for side in SIDES]
    name = next((name for name in names if _is_interrupted(name)), None)
    if name is not None and st.session_state.get(given.OF) != name:
        st.session_state[given.OF] = name
        with suppress(ValueError, OSError):
            given.give_back(prompt_runs.given_to(name))
    return name is not None


def _is_interrupted(name: str) -> bool:
    if not prompt_runs.has_begun(name) or all_jobs().get(_key(name)) is not None:
        return False
    return not (prompt_runs.folder() / name).exists()


def linked() -> dict[str, Job | Run]:
    """What the link leads to, or the last of this tab, by side: a run, or the job that will be one
    or failed."""
    known = st.query_params if any(side in st.query_params for side in SIDES) else st.session_state
    names = {side: name for side in SIDES if (name := str(known.get(side) or ""))}
    found = {side: one for side, name in names.items() if (one := _found(name)) is not None}
    for side in SIDES:
        if side in found:
            st.query_params[side] = st.session_state[side] = names[side]
        elif not _is_interrupted(names.get(side, "")):
            forget(side)
    return found


def _found(name: str) -> Job | Run | None:
    """Says why, where there is none."""
    job = all_jobs().get(_key(name))
    if job is not None and job.state != "done":
        return job
    made = job.result_of(Run) if job else None
    try:
        found = prompt_runs.find(name) if made is None or made.is_kept else made
    except (ValueError, OSError) as error:
        controls.refused("A run of this link cannot be shown.", error)
        return None
    if found is None:
        st.info(INTERRUPTED if _is_interrupted(name) else MISSING)
    return found


def opened(run: Run) -> Trace:
    """Stops the page where the run cannot be read."""
    try:
        return open_trace(run_file(run))
    except (ValueError, OSError) as error:
        controls.refused("This run cannot be shown. Delete it among “My runs”.", error)
        left_out.stop()


def forget(name: str) -> None:
    """A side, or what is chosen on the page."""
    st.session_state.pop(name, None)
    st.query_params.pop(name, None)


def _key(name: str) -> str:
    return f"run|{name}"
