"""What can I take away?"""

import json
from functools import partial

import streamlit as st

from app import evidence
from app.jobs.queue import all_jobs
from app.views.export import tables as export
from app.views.shared import controls, progress
from app.views.shared.trace_choice import trace_page
from data.report import csv_text, file_name

trace = trace_page("What can I take away?")
with st.spinner(evidence.WAIT):
    evidence.lifts(trace)  # the manifest counts its tests
tables = export.tables(trace)
controls.answer(
    f"{len(tables)} tables of the trace {trace.name} as CSV, one by one or all in one zip with a "
    "manifest that says which model, which trace and how many rows."
)


def csv_of(name: str) -> str:
    return csv_text(tables[name][1]())


left, right = st.columns([3, 2], gap="large")
with left:
    st.markdown("**One table**")
    for name, (title, _) in tables.items():
        with st.container(
            horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
        ):
            st.markdown(f"{title}  \n:small[`{name}`]")
            st.download_button(
                "CSV",
                partial(csv_of, name),
                file_name=file_name(trace.name, name) + ".csv",
                mime="text/csv",
                on_click="ignore",
                key=f"csv_{name}",
                icon=":material/download:",
            )
with right:
    st.markdown("**Everything**")
    raw = st.checkbox("With the trace itself: every token, choice and weight", key="raw")
    key = f"zip|{trace.identity}|{raw}"
    job = all_jobs().get(key)
    if job and job.active:
        progress.show(job, key="zip")
    elif job and job.state == "done" and job.result.is_file():
        st.download_button(
            f"Download the zip ({job.result.stat().st_size / 2**20:.1f} MB)",
            job.result.read_bytes,
            file_name=file_name(trace.name, "routescope") + ".zip",
            mime="application/zip",
            on_click="ignore",
            type="primary",
            icon=":material/folder_zip:",
        )
    else:
        if job:
            progress.outcome(job, failed="The zip could not be made.")
        if st.button("Prepare the zip", type="primary", icon=":material/folder_zip:"):
            all_jobs().start(
                key,
                "Writing tables",
                lambda job: export.build_zip(job, trace, raw=raw),
                lane="export",
            )
            st.rerun()
    controls.note(
        "Text that a spreadsheet would run as a formula has a leading apostrophe. The trace is one "
        f"DuckDB file, {trace.path.name}: any DuckDB 2 reads it as it is."
    )
    with st.expander("manifest.json", icon=":material/data_object:"):
        shown = export.manifest(trace, raw=raw)
        st.code(json.dumps(shown, indent=2, ensure_ascii=False), language="json", height=420)
