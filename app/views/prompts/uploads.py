"""A file of prompts: what may be in it, and the file itself, kept while other pages are visited."""

from html import escape

import streamlit as st

from app.jobs.prompts import LIMITS, MEGABYTES, SUFFIXES, Upload
from app.views.shared import controls

CHOOSER = "upload"
FILE, DESCRIBED, REFUSED = "uploaded", "upload_described", "upload_refused"  # in the session
FORMATS = (
    "txt: one prompt a line; where there are blank lines between, or lines of ---, these separate "
    "the prompts. csv, jsonl, parquet: a column `text`, `domain` if there are labels, "
    "and `group` if several prompts are of one source."
)
SHORT_LIMITS = (
    f"Up to {MEGABYTES} MB, {LIMITS.documents:,} prompts, {LIMITS.characters:,} characters each."
)


def draw(context: int | None) -> Upload | None:
    """What is uploaded; `context` as in limits()."""
    file: Upload | None = st.session_state.get(FILE)
    if file is None:
        st.file_uploader(
            "or upload a file of prompts",
            type=list(SUFFIXES),
            key=CHOOSER,
            help=f"{FORMATS} {limits(context)}",
            max_upload_size=MEGABYTES,
            on_change=_keep,
        )
    else:
        _kept(file)
    controls.note(SHORT_LIMITS)
    if error := st.session_state.pop(REFUSED, None):
        controls.refused("This file cannot be run:", error)
    return file


def limits(context: int | None) -> str:
    """`context`: tokens that the model reads; None: not known yet."""
    first = (
        "as many tokens as fit its context" if context is None else f"the first {context:,} tokens"
    )
    return (
        f"At most {MEGABYTES} MB · {LIMITS.documents:,} prompts in {LIMITS.rows:,} rows · "
        f"{LIMITS.characters:,} characters a prompt, {LIMITS.total_characters:,} in all. "
        f"Of each the model reads {first}."
    )


def _kept(file: Upload) -> None:
    with st.container(key="uploaded_file", gap="xsmall", border=True):
        with st.container(horizontal=True, wrap=False, vertical_alignment="center"):
            size = f"{len(file.content) / 1000:,.3g} kB"
            st.html(f'<p class="rs-file"><b>{escape(file.name)}</b><br>{size}</p>')
            st.button("Remove", key="remove_upload", icon=":material/close:", on_click=_remove)
        controls.note("This file is run, not the text. Remove it to run the text.")


def _keep() -> None:
    """The uploader itself loses its file when another page is opened."""
    file = st.session_state[CHOOSER]
    if file is None:
        return
    try:
        take(Upload(file.name, file.getvalue()))
    except ValueError as error:
        st.session_state[REFUSED] = error


def take(file: Upload) -> None:
    st.session_state[FILE], st.session_state[DESCRIBED] = file, file.described()


def described() -> str:
    """What is run of the file."""
    return str(st.session_state[DESCRIBED])


def _remove() -> None:
    del st.session_state[FILE], st.session_state[DESCRIBED]
