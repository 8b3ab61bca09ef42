"""What to run through the model, and what to keep of it."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import workspace
from app.jobs import prompts
from app.jobs.prompts import MEGABYTES, SUFFIXES, Result, Upload
from app.studies.reader import Sampling
from app.views.shared import controls
from data.prompts import Prompts

EXAMPLE = """If 3x + 5 = 20, then x = 5.
def area(radius):
    return 3.14 * radius ** 2
Der Zug fährt um acht Uhr ab, et nous restons ici.
She put the milk back in the fridge so that it would not spoil."""


@dataclass(frozen=True, slots=True)
class Request:
    prompts: Prompts | Upload
    sampling: Sampling | None


def asked() -> Request | None:
    """What the user asked to run, on the rerun in which they pressed the button."""
    if not prompts.has_model(workspace.checkpoint()):
        st.info("There is no model to run text through: data/checkpoint is missing.")
        return None
    with st.form("prompt", border=False):
        left, right = st.columns([3, 2], gap="large")
        text = left.text_area("Paste a text", EXAMPLE, height=168, key="pasted")
        upload = right.file_uploader(
            "or upload a file of prompts",
            type=list(SUFFIXES),
            key="upload",
            max_upload_size=MEGABYTES,
        )
        right.caption(
            "txt: one prompt per line. csv, jsonl, parquet: a column `text`, `domain` if there are "
            "labels, and `group` if several prompts are of one source. "
            + prompts.limits_in_words(workspace.checkpoint())
        )
        with st.expander("Let the model continue the text", icon=":material/auto_awesome:"):
            settings = _sampling()
        pressed = st.form_submit_button("Run", type="primary", icon=":material/play_arrow:")
    if not pressed:
        return None
    try:
        given = Upload(upload.name, upload.getvalue()) if upload else prompts.pasted(text)
        sampling = Sampling(**settings) if settings["new_tokens"] else None
    except ValueError as error:
        st.error("This cannot be run:")
        st.code(str(error), language=None)
        return None
    return Request(given, sampling)


def _sampling() -> dict[str, Any]:
    columns = st.columns(4)
    new_tokens = columns[0].number_input(
        "New tokens (0 for none)", 0, 256, 0, step=16, key="new_tokens"
    )
    temperature = columns[1].number_input("Temperature", 0.0, 2.0, 0.8, step=0.1)
    top_p = columns[2].number_input("Top-p", 0.05, 1.0, 0.95, step=0.05)
    seed = columns[3].number_input("Seed", 0, 2**31 - 1, 0, step=1)
    return {"new_tokens": new_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}


def save(result: Result) -> None:
    """Copy the run into the workspace under a name of the user's."""
    for note in result.notes:
        controls.note(f"{note[0].upper()}{note[1:]}.")
    if result.truncated_documents:
        st.warning(
            f"{result.truncated_documents} of {result.documents} texts "
            f"{'is' if result.truncated_documents == 1 else 'are'} longer than the model's "
            f"context; {result.truncated_tokens:,} tokens were not read."
        )
    with st.popover("Save as a trace", icon=":material/save:"):
        name = st.text_input("Name", "my prompts", max_chars=64, key="trace_name")
        if st.button("Save", key="save_trace", type="primary"):
            try:
                workspace.save_trace(result.path, name.strip())
            except (ValueError, OSError) as error:
                controls.refused("The trace was not saved.", error)
                return
            st.success("Saved. Choose it in the sidebar.")
