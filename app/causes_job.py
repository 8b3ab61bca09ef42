"""Experts left out of the model of this workspace, as a job."""

import pandas as pd
import streamlit as st

from analysis import queries
from analysis.queries import TraceInfo
from app import ablation, jobs, progress, prompt_runs, workspace
from app.jobs import Job, all_jobs
from app.workspace import TraceFile

TOKENS = 4_000  # a domain, at least
SEED = 0
FORM_TEXT = "Experts as LAYER:EXPERT; empty: the surest specialist of each domain"


def show(trace: TraceFile, info: TraceInfo) -> None:
    """The form, or the job that it started."""
    if reason := unusable(info):
        st.info("No expert can be left out here:")
        st.code(reason, language=None)
        return
    key = f"causes|{trace.identity}"
    job = all_jobs().get(key)
    if job is not None and job.active:
        progress.show(job, key="causes")
        return
    if job is not None:
        progress.outcome(job, failed="The experts could not be left out.")
    with (
        st.form("causes", border=False),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        text = st.text_input(FORM_TEXT, placeholder="3:17, 5:2", key="experts")
        pressed = st.form_submit_button("Leave out and measure", type="primary")
    if pressed:
        all_jobs().start(
            key, "Leaving experts out", lambda job: run(job, trace, text), lane="model"
        )
        st.rerun()


def unusable(info: TraceInfo) -> str:
    """Why this workspace cannot measure on this trace; empty if it can."""
    if not prompt_runs.model_found():
        return "there is no model to run: data/checkpoint is missing"
    try:
        ablation.require_usable(workspace.checkpoint(), info)
    except ValueError as error:
        return str(error)
    return ""


def run(job: Job, trace: TraceFile, text: str) -> pd.DataFrame:
    from model.capture import CaptureCancelledError

    with workspace.cursor(trace) as con:
        info = queries.trace_info(con)
        experts = ablation.parse_experts(text, info) if text.strip() else None
        targets = ablation.targets_of(ablation.lifts(con, info), experts, top=1)
        try:
            rows = ablation.ablate(
                prompt_runs.tracer(),
                con,
                info,
                targets,
                tokens_per_domain=TOKENS,
                seed=SEED,
                on_progress=lambda done, total: job.advance(done, total=total, unit="batches"),
                cancelled=job.stop.is_set,
            )
        except CaptureCancelledError as error:
            raise jobs.CancelledError from error
    parameters = {"model_sha256": info.model_sha256, "seed": SEED, "tokens_per_domain": TOKENS}
    return ablation.store(trace.path, rows, parameters)
