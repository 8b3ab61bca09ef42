"""What is known of a finished run, and where it goes: among the traces, or beside one."""

import streamlit as st

from app import workspace
from app.prompt_runs import Run
from app.trace import Trace
from app.views.shared import controls
from data.words import counted

NOT_KEPT = (
    "This run ends with the server: nothing can be written beside the traces. Download its tables, "
    "or save it as a trace where the folder of traces can be written to."
)


def tell(run: Run) -> None:
    """What was read, and by which model."""
    controls.note(f"Read by the model {run.model}.")
    for note in run.notes:
        controls.note(f"{note[0].upper()}{note[1:]}.")
    if not run.is_kept:
        st.warning(NOT_KEPT)
    if run.stopped:
        which = "" if run.asked == 1 else f" in text {run.documents:,} of {run.asked:,}"
        controls.note(f"Stopped{which}, as you asked: what there was then is kept.")
    if run.truncated_documents:
        which = f"{run.truncated_documents} of {run.documents} texts"
        st.warning(
            f"{which if run.documents > 1 else 'The text'} "
            f"{'is' if run.truncated_documents == 1 else 'are'} longer than the model's "
            f"context; {counted(run.truncated_tokens, 'token was', 'tokens were')} not read."
        )


def draw(run: Run, trace: Trace) -> None:
    tell(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover("Save as a trace", icon=":material/save:"):
            name_and_save(run, name="my prompts")
        if run.is_kept:
            compare(run, trace)


def compare(run: Run, trace: Trace) -> None:
    """A link to the page Compare."""
    st.page_link(
        "views/compare/page.py",
        label=f"Compare with the trace {controls.unmarked(trace.name)}",
        icon=":material/compare_arrows:",
        query_params={"trace": trace.name, "with": "my runs", "runs": run.id},
    )


def name_and_save(run: Run, *, name: str, key: str = "") -> None:
    """Copy the run into the workspace under a name of the user's."""
    name = st.text_input("Name of the trace", name, key=f"trace_name{key}")
    if st.button("Save as a trace", key=f"save_trace{key}", type="primary"):
        try:
            workspace.save_trace(run.path, name.strip())
        except (ValueError, OSError) as error:
            controls.refused("The trace was not saved.", error)
            return
        st.success("Saved. Choose it in the sidebar.")
