"""What is known of the experts of this workspace's model, measured by a job where it is not yet."""

import shlex
from functools import partial
from math import ceil
from pathlib import Path

import pandas as pd
import streamlit as st

from app import workspace
from app.jobs import models, similarity
from app.jobs.job import Place
from app.jobs.queue import all_jobs
from app.studies import redundancy
from app.studies.compression import result
from app.studies.redundancy import Redundancy
from app.views.shared import controls, left_out, progress


def model_redundancy() -> Redundancy:
    """Of the model of this workspace; stops the page while there is none."""
    folder = workspace.checkpoint()
    if not models.has_model(folder):
        st.info("There is no model here. Train one, then set ROUTESCOPE_MODEL to its folder:")
        st.code("routescope train runs/tiny --corpus corpus", language="bash")
        left_out.stop()
    try:
        pruned = _pruned(folder)
    except ValueError as error:
        controls.refused("This model cannot be read.", error)
        left_out.stop()
    if pruned:
        st.info("This model was pruned: several experts run the same weights. What it cost:")
        controls.table(compression_table(), name="compression", trace="model")
        left_out.stop()
    try:
        stored = _stored(str(folder), _identity())
    except ValueError as error:
        controls.refused("The similarities of this model cannot be read.", error)
        left_out.stop()
    if stored is None:
        _measure()
        left_out.stop()
    return stored


def named() -> str:
    folder = workspace.checkpoint()
    if folder == workspace.SHIPPED_MODEL:
        return "the shipped model (ROUTESCOPE_MODEL names another)"
    return f"the model in {folder.parent.name}/{folder.name}"


def pruning(similar: Redundancy) -> str:
    """The command that makes a smaller model of this one."""
    folder = workspace.checkpoint()
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    share = max(0.125, 1 / int(similar.experts_by_layer.min()))
    return (
        f"routescope prune {shlex.quote(str(folder))} --out runs/small --by saliency "
        f"--share {ceil(share * 1000) / 1000:g}"
    )


def compression_table() -> pd.DataFrame:
    """What `routescope prune` or the benchmark left beside the weights; empty without."""
    try:
        return result.read_result(workspace.checkpoint())
    except ValueError as error:
        controls.refused("What smaller models cost cannot be read.", error)
        return pd.DataFrame()


@st.cache_resource(show_spinner=False, max_entries=4)
def _stored(folder: str, identity: tuple[int, ...]) -> Redundancy | None:
    return redundancy.stored(workspace.checkpoint())


def _pruned(folder: Path) -> bool:
    from model.config_file import load_config
    from model.fingerprint import is_transformers

    return not is_transformers(folder) and load_config(folder).expert_leaders is not None


def _identity() -> tuple[int, ...]:
    files = (workspace.checkpoint() / name for name in ("config.json", redundancy.FILE))
    return tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in files)


def _measure() -> None:
    key = f"redundancy|{workspace.checkpoint()}|{_identity()}"
    work = partial(similarity.run, model=workspace.checkpoint())
    job = all_jobs().get(key) or all_jobs().start(
        key, "Comparing experts", work, place=Place("redundancy")
    )
    if job.active:
        st.info(
            "The experts of this model are being compared for the first time; it takes well under "
            "a minute."
        )
        progress.follow(job, key="redundancy")
        return
    progress.outcome(job, failed="The experts could not be compared.")
    if st.button("Compare the experts", type="primary"):
        all_jobs().forget(key)
        st.rerun()
