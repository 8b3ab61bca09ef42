"""The zip of every table: prepared by a job, then there to download."""

from functools import partial
from pathlib import Path

import streamlit as st

from app.jobs.job import Place
from app.jobs.queue import all_jobs
from app.trace import Trace
from app.views.export.tables import build_zip
from app.views.shared import progress
from data.file_names import file_name


def draw_zip(trace: Trace, *, raw: bool, bom: bool) -> None:
    """The download, the job on its way there, or the button that starts it."""
    key = f"zip|{trace.identity}|{raw}|{bom}"
    job = all_jobs().get(key)
    archive = job.result_of(Path) if job else None
    if job and job.active:
        progress.follow(job, key="zip")
    elif archive and archive.is_file():
        _download(archive, trace)
    else:
        if job:
            progress.outcome(job, failed="The zip could not be made.")
        if st.button("Prepare the zip", type="primary", icon=":material/folder_zip:"):
            work = partial(build_zip, trace_path=trace.path, raw=raw, bom=bom)
            place = Place("export", {"trace": trace.name})
            all_jobs().start(key, f"Writing tables of {trace.name}", work, place=place)
            st.rerun()


def _download(archive: Path, trace: Trace) -> None:
    st.download_button(
        f"Download the zip ({archive.stat().st_size / 2**20:.1f} MB)",
        archive.read_bytes,
        file_name=file_name(trace.name, "routescope") + ".zip",
        mime="application/zip",
        on_click="ignore",
        type="primary",
        icon=":material/folder_zip:",
    )
