"""What to run through the model, and what to keep of it."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import workspace
from app.jobs import prompts
from app.jobs.prompts import MEGABYTES, SUFFIXES, Result, Upload
from app.model_folders import ModelFolder
from app.studies.model_facts import Facts
from app.studies.reader import Sampling
from app.views.prompts.model_choice import Choice, understood
from app.views.shared import controls
from data.prompts import Prompts

EXAMPLE = """If 3x + 5 = 20, then x = 5.
def area(radius):
    return 3.14 * radius ** 2
Der Zug fährt um acht Uhr ab, et nous restons ici.
She put the milk back in the fridge so that it would not spoil."""

AS_SET = "the model's own"
CHAT = "Each text is what a user says; the template adds the model's marks around it."
WRITES_ANEW = (
    "This model has an encoder and a decoder: it writes a text of its own instead of continuing "
    "one, so nothing can be continued here."
)


@dataclass(frozen=True, slots=True)
class Request:
    model: ModelFolder
    prompts: Prompts | Upload
    sampling: Sampling | None
    chat: bool


def asked(choice: Choice) -> Request | None:
    """What the user asked to run, on the rerun in which they pressed the button."""
    facts = choice.facts
    chat, settings = False, {"new_tokens": 0}
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
            + prompts.limits_in_words(facts.context if facts else None)
        )
        if facts is not None and facts.has_chat:
            chat = st.checkbox(
                "As a message to the model, in its chat template", key="chat", help=CHAT
            )
        if facts is None or facts.continues:
            with st.expander("Let the model continue the text", icon=":material/auto_awesome:"):
                settings = _sampling(facts)
        else:
            controls.note(WRITES_ANEW)
        pressed = st.form_submit_button(
            "Run", type="primary", icon=":material/play_arrow:", disabled=facts is None
        )
    if not pressed or choice.stands_in:
        return None
    try:
        given = Upload(upload.name, upload.getvalue()) if upload else prompts.pasted(text)
        sampling = Sampling(**settings) if settings["new_tokens"] else None
    except ValueError as error:
        st.error("This cannot be run:")
        st.code(str(error), language=None)
        return None
    understood()
    return Request(choice.model, given, sampling, chat)


def _sampling(facts: Facts | None) -> dict[str, Any]:
    """Models of transformers come with settings of their own."""
    own = facts is not None and facts.transformers
    columns = st.columns(4)
    new_tokens = columns[0].number_input(
        "New tokens (0 for none)", 0, 256, 0, step=16, key="new_tokens"
    )
    temperature = columns[1].number_input(
        "Temperature", 0.0, 2.0, None if own else 0.8, step=0.1, placeholder=AS_SET
    )
    top_p = columns[2].number_input(
        "Top-p", 0.05, 1.0, None if own else 0.95, step=0.05, placeholder=AS_SET
    )
    seed = columns[3].number_input("Seed", 0, 2**31 - 1, 0, step=1)
    return {"new_tokens": new_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}


def tell(result: Result) -> None:
    """What was read, and by which model."""
    controls.note(f"Read by the model {result.model}.")
    for note in result.notes:
        controls.note(f"{note[0].upper()}{note[1:]}.")
    if result.truncated_documents:
        which = f"{result.truncated_documents} of {result.documents} texts"
        st.warning(
            f"{which if result.documents > 1 else 'The text'} "
            f"{'is' if result.truncated_documents == 1 else 'are'} longer than the model's "
            f"context; {result.truncated_tokens:,} tokens were not read."
        )


def save(result: Result) -> None:
    """Copy the run into the workspace under a name of the user's."""
    tell(result)
    with st.popover("Save as a trace", icon=":material/save:"):
        name = st.text_input("Name", "my prompts", max_chars=64, key="trace_name")
        if st.button("Save", key="save_trace", type="primary"):
            try:
                workspace.save_trace(result.path, name.strip())
            except (ValueError, OSError) as error:
                controls.refused("The trace was not saved.", error)
                return
            st.success("Saved. Choose it in the sidebar.")
