"""A model from the Hugging Face hub: only on a server that was started with --allow-hub."""

from functools import partial
from pathlib import Path

import streamlit as st

from app import hub, model_folders
from app.jobs import hub as hub_job
from app.jobs.job import Place
from app.jobs.queue import all_jobs
from app.views.shared import progress

KEY = "hub"  # of jobs, with the name


def draw() -> None:
    with st.popover("From the hub", icon=":material/cloud_download:"):
        name = st.text_input("Model on the Hugging Face hub", placeholder="ORGANIZATION/NAME")
        st.caption("Weights as safetensors alone; code of a model's author is never run.")
        if st.button("Download", key="download", type="primary"):
            start(name.strip())
        _newest()


def start(name: str) -> None:
    if not hub.is_name(name):
        st.error(f"{name[:80]!r} is no name on the hub; give ORGANIZATION/NAME.")
        return
    st.session_state.hub_asked = name
    place = Place("prompts", {"model": f"hub/{name}"})
    all_jobs().start(
        f"{KEY}|{name}", f"Downloading {name}", partial(hub_job.run, name=name), place=place
    )


def _newest() -> None:
    """What became of the last download."""
    jobs = [job for job in all_jobs().all() if job.key.startswith(f"{KEY}|")]
    if jobs and jobs[-1].active:
        progress.follow(jobs[-1], key=KEY)
    elif jobs and jobs[-1].state == "failed":
        progress.outcome(jobs[-1], failed="The model could not be downloaded.")


def note_downloads() -> None:
    """What was downloaded since is listed from now on; for whoever asked for it, it is chosen."""
    for job in all_jobs().all():
        kind, _, name = job.key.partition("|")
        if kind == KEY and (path := job.result_of(Path)) is not None:
            model_folders.downloaded()[name] = path
            if st.session_state.get("hub_asked") == name:
                del st.session_state["hub_asked"]
                st.session_state.model = f"{KEY}/{name}"
