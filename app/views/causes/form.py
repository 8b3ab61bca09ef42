"""Which experts to leave out, and the job that does it."""

from functools import partial

import streamlit as st

from analysis.queries import TraceInfo
from app import model_folders, workspace
from app.jobs import causes, models
from app.jobs.job import Place
from app.jobs.queue import all_jobs
from app.studies import ablation
from app.trace import Trace
from app.views.shared import controls, progress, selecting

ASKED = "experts_asked"  # what of the selection stands in the form
FORM_TEXT = "Experts as LAYER:EXPERT (empty: the clearest specialist of each domain)"


def draw_form(trace: Trace, *, first: bool) -> None:
    """The form, or the job that it started, or why no expert can be left out. `first`: none has
    been yet."""
    if reason := unusable(trace.info):
        which = "No expert" if first else "No more experts"
        st.info(f"{which} of this trace can be left out here: {controls.unmarked(reason)}.")
        return
    if first:
        st.info(
            "No expert of this trace has been left out yet. Choose some below, or run "
            "`routescope ablate --trace`."
        )
    key = f"causes|{trace.identity}"
    job = all_jobs().get(key)
    if job is not None and job.active:
        progress.follow(job, key="causes")
        return
    if job is not None:
        progress.outcome(job, failed="The experts could not be left out.")
    with (
        st.form("causes", border=False),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        _ask_for_selected()
        text = st.text_input(FORM_TEXT, placeholder="3:17, 5:2", key="experts")
        pressed = st.form_submit_button("Leave out and measure", type="primary")
    if pressed:
        model = model_folders.model_of(trace.info)
        work = partial(causes.run, model=model, trace_path=trace.path, text=text)
        place = Place("causes", {"trace": trace.name})
        all_jobs().start(key, "Leaving experts out", work, place=place)
        st.rerun()


def _ask_for_selected() -> None:
    """The experts of the selection, once it changes."""
    asked = ", ".join(f"{layer}:{expert}" for layer, expert in selecting.current().experts)
    if st.session_state.get(ASKED) != asked or "experts" not in st.session_state:
        st.session_state[ASKED] = st.session_state["experts"] = asked


def unusable(info: TraceInfo) -> str:
    """Why this workspace cannot measure on this trace; empty if it can."""
    model = model_folders.model_of(info)
    if not models.has_model(model):
        return "there is no model to run: data/checkpoint is missing"
    try:
        if model == workspace.checkpoint():
            ablation.require_usable(model, info)
        ablation.require_domains(info)
    except ValueError as error:
        return str(error)
    return ""
