"""Which model reads the text: those there are, what each is, and whether it is in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import streamlit as st

from app import hub
from app.jobs import models
from app.jobs.job import Job, Place
from app.jobs.looks import all_looks
from app.jobs.queue import all_jobs
from app.model_folders import ModelFolder
from app.studies.model_facts import Facts
from app.views.prompts import hub_field, model_words
from app.views.shared import controls, progress

LOAD, UNLOAD = "load", "unload"  # keys of jobs, with the folder
GONE = "model_gone"  # which the user had chosen
LOADING = "Keeps it in memory for all browsers of this server. Run loads it too."
PLACES = (
    "The default model, those in the folder models/ (ROUTESCOPE_MODELS) and finished trainings in "
    "runs/ (ROUTESCOPE_RUNS): one a folder, of RouteScope or of transformers."
)
UNLOADING = "Frees its memory, for all browsers of this server."


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen model; without facts while it is being looked at."""

    model: ModelFolder
    facts: Facts | None
    is_loaded: bool
    stands_in: bool  # for one that is gone, which the user had chosen


def draw() -> Choice | None:
    """The chooser; None where there is nothing to choose."""
    hub_field.note_downloads()
    _give_up_what_is_gone()
    known = model_words.known_models()
    chosen = _selected([one for one in known if one.reason is None])
    _table(known)
    _watch(_state())
    return chosen


def _selected(known: list[model_words.Known]) -> Choice | None:
    if not known:
        st.info("There is no model to run text through. Those below cannot be.")
        return None
    by_name = {one.model.name: one for one in known}
    before = st.session_state.get("model", st.query_params.get("model"))
    is_gone = before is not None and before not in by_name
    if is_gone:  # a text that was meant for it goes to no other
        st.session_state[GONE] = str(before)
    with st.container(key="model_choice", gap="xsmall"):
        left, right = st.columns([2, 3], gap="medium")
        row = left.container(horizontal=True, vertical_alignment="bottom")
        name = row.selectbox(
            "Model",
            list(by_name),
            key="model",
            bind="query-params",
            help=PLACES,
            width="stretch",
            on_change=understood,
        )
        one = by_name[str(name)]
        if GONE in st.session_state:
            st.error(
                f"{controls.unmarked(st.session_state[GONE])} cannot be used any more. Choose "
                f"another model, or run the text through {controls.unmarked(one.model.name)}."
            )
        with row:
            _actions(one)
            if hub.is_allowed():
                hub_field.draw()
        right.html(model_words.described(one))
        _jobs(one)
    return Choice(one.model, one.facts, one.is_loaded, is_gone)


def understood() -> None:
    """The user has chosen, or run a text all the same."""
    st.session_state.pop(GONE, None)


def _give_up_what_is_gone() -> None:
    """A model whose folder was removed: nobody could choose it to unload it."""
    for path in map(Path, all_jobs().kept):
        if not path.exists():
            _unload(ModelFolder(path.name, path))


def _actions(one: model_words.Known) -> None:
    if one.facts is None:
        return
    st.button(
        "Unload" if one.is_loaded else "Load",
        key=f"{UNLOAD if one.is_loaded else LOAD}_model",
        icon=":material/eject:" if one.is_loaded else ":material/memory:",
        disabled=_active(one.model) is not None,
        help=UNLOADING if one.is_loaded else LOADING,
        on_click=_unload if one.is_loaded else _load,
        args=(one.model,),
    )


def _load(model: ModelFolder) -> None:
    _start(LOAD, model, f"Loading {model.name}", models.load)


def _unload(model: ModelFolder) -> None:
    _start(UNLOAD, model, f"Unloading {model.name}", models.unload)


def _start(key: str, model: ModelFolder, title: str, work: Callable[..., None]) -> None:
    place = Place("prompts", {"model": model.name})
    all_jobs().start(f"{key}|{model.path}", title, partial(work, folder=model.path), place=place)


def _active(model: ModelFolder) -> Job | None:
    jobs = (all_jobs().get(f"{key}|{model.path}") for key in (LOAD, UNLOAD))
    return next((job for job in jobs if job is not None and job.active), None)


def _jobs(one: model_words.Known) -> None:
    if (job := _active(one.model)) is not None:
        progress.follow(job, key="model")
        return
    loading = all_jobs().get(f"{LOAD}|{one.model.path}")
    if loading is not None and loading.state == "failed" and not loading.dismissed:
        progress.outcome(loading, failed="The model could not be loaded.")


def _table(known: list[model_words.Known]) -> None:
    """All models side by side, with why some cannot be chosen: none is missing silently."""
    refused = sum(one.reason is not None for one in known)
    if len(known) == 1 and not refused:
        return
    title = f"All {len(known)} models"
    if refused:
        title += f", {refused} of them unusable here"
    with st.expander(title, icon=":material/list:", key="all_models"):
        st.html(model_words.table(known))


def _state() -> tuple[object, ...]:
    """What other browsers change."""
    jobs = [job for job in all_jobs().all() if job.key.split("|")[0] in (LOAD, UNLOAD, "hub")]
    states = tuple((job.id, job.active) for job in jobs)
    return all_looks().number, tuple(all_jobs().kept), states


@st.fragment(run_every=1.0)
def _watch(drawn: tuple[object, ...]) -> None:
    """The page runs again when a model is loaded, given up or looked at, in whichever tab."""
    if _state() != drawn:
        st.rerun()
