"""The runs that are kept: open, rename, keep as a trace, compare, delete."""

from collections.abc import Sequence
from datetime import datetime
from html import escape

import streamlit as st

from app import prompt_runs
from app.prompt_runs import KEPT, KEPT_GIGABYTES, Run
from app.trace import Trace
from app.views.prompts.run import FIRST, SECOND, SIDES, forget, show
from app.views.prompts.run_facts import compare, name_and_save
from app.views.shared import controls
from data.file_names import file_name
from data.words import counted

ROWS = 6  # of the list at once
ASKED = "run_to_delete"  # in a tab: whose deletion is to be confirmed
KEPT_IN_WORDS = (
    f"Everybody who uses this server sees these runs. The newest {KEPT} are kept, up to "
    f"{KEPT_GIGABYTES} GB together; a run that is saved as a trace stays."
)


def draw(trace: Trace) -> None:
    runs, others = prompt_runs.listed()
    if not (runs or others):
        return
    with st.expander(f"My runs ({len(runs)})", icon=":material/history:", key="my_runs"):
        rows = st.container(gap="xsmall")
        for run in _part(runs):
            with rows:
                _row(run, trace)
        if others:
            controls.note(f"Not listed: {', '.join(others)}")
        with st.container(horizontal=True, vertical_alignment="center"):
            controls.note(KEPT_IN_WORDS)
            if runs:
                _forget_all(runs)


def described(run: Run) -> str:
    """In one line, without its title."""
    texts = counted(run.documents, "text", "texts")
    facts = [run.model, texts, counted(run.tokens, "token", "tokens")]
    if run.sampling:
        facts.append(f"continued by up to {run.sampling.new_tokens}")
    if run.stopped:
        facts.append("stopped")
    when = datetime.fromisoformat(run.created)
    return " · ".join([*facts, f"{when:%Y-%m-%d %H:%M} UTC"])


def _part(runs: Sequence[Run]) -> Sequence[Run]:
    parts = -(-len(runs) // ROWS)
    if parts < 2:
        return runs
    if st.session_state.get("part_of_runs", 1) > parts:
        del st.session_state["part_of_runs"]
    first = (st.pagination(parts, key="part_of_runs") - 1) * ROWS
    return runs[first : first + ROWS]


def _row(run: Run, trace: Trace) -> None:
    shown = run.id in [st.query_params.get(side) for side in SIDES]
    with st.container(
        horizontal=True, wrap=False, vertical_alignment="center", key=f"row_{run.id}"
    ):
        st.html(
            f'<p class="rs-file"><b>{escape(run.title)}</b>{" (shown)" if shown else ""}'
            f"<br>{escape(described(run))}</p>"
        )
        st.button("Open", key=f"open_{run.id}", on_click=show, args=(run,), disabled=shown)
        with st.popover("More", key=f"more_{run.id}"):
            _more(run, trace, shown=shown)


def _more(run: Run, trace: Trace, *, shown: bool) -> None:
    if FIRST in st.query_params and not shown:
        st.button(
            "Open beside the run that is shown",
            key=f"beside_{run.id}",
            icon=":material/splitscreen_vertical_add:",
            on_click=show,
            args=(run,),
            kwargs={"side": SECOND},
        )
    compare(run, trace)
    most = prompt_runs.TITLE_LENGTH
    label = f"Title (at most {most} characters; a longer one is cut)"
    title = st.text_input(label, run.title, key=f"title_{run.id}")
    if st.button("Rename", key=f"rename_{run.id}"):
        try:
            prompt_runs.rename(run, prompt_runs.in_one_line(title)[:most])
        except (ValueError, OSError) as error:
            controls.refused("The run was not renamed.", error)
        else:
            st.rerun()
    name_and_save(run, name=file_name(run.title).replace("_", " "), key=f"_{run.id}")
    if st.button("Delete this run", key=f"delete_{run.id}", icon=":material/delete:"):
        st.session_state[ASKED] = run.id
    if st.session_state.get(ASKED) != run.id:
        return
    controls.note("It is deleted for everybody, and its link leads nowhere then.")
    with st.container(horizontal=True):
        if st.button("Delete", key=f"delete_sure_{run.id}", type="primary"):
            _delete([run])
        if st.button("Keep", key=f"delete_not_{run.id}"):
            del st.session_state[ASKED]
            st.rerun()


def _forget_all(runs: Sequence[Run]) -> None:
    with st.popover("Forget all", icon=":material/delete_sweep:", key="forget_all"):
        controls.note("They are deleted for everybody, and their links lead nowhere then.")
        words = "Delete this run" if len(runs) == 1 else f"Delete all {len(runs)} runs"
        if st.button(words, key="delete_all", type="primary"):
            prompt_runs.forget_begun()
            _delete(runs)


def _delete(runs: Sequence[Run]) -> None:
    try:
        prompt_runs.delete(runs)
    except OSError as error:
        controls.refused("Not deleted.", error)
        return
    gone = {run.id for run in runs}
    for side in SIDES:
        if st.query_params.get(side) in gone:
            forget(side)
    st.rerun()
