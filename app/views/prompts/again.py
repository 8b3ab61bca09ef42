"""The text of a run, to be edited and run again: beside that run, or in its place."""

import streamlit as st

from app.jobs.prompts import pasted
from app.prompt_runs import Run
from app.studies.reader import Sampling
from app.trace import Trace
from app.views.prompts.form import Request
from app.views.prompts.model_choice import Choice, understood
from app.views.prompts.run import SECOND, start
from app.views.shared import controls
from data.words import counted


def offer(trace: Trace, choice: Choice | None, run: Run, doc_id: int) -> None:
    """A second run beside the only one."""
    with st.expander("Compare with another prompt", icon=":material/compare_arrows:"):
        ask(trace, choice, run, doc_id, side=SECOND, label="Another text", button="Run beside")


def ask(
    trace: Trace,
    choice: Choice | None,
    run: Run,
    doc_id: int,
    *,
    side: str,
    label: str,
    button: str = "Run again",
) -> None:
    """Run as `run` was, as far as the model that is chosen now can."""
    facts = choice.facts if choice else None
    sampling = run.sampling if facts and facts.continues else None
    chat = run.chat and facts is not None and facts.has_chat
    try:
        text = run.text(doc_id)
    except (ValueError, OSError) as error:
        controls.refused("The text of this run cannot be edited.", error)
        return
    with st.form(f"again_{side}", border=False):
        key = f"again_{side}_{run.id}_{doc_id}"
        text = st.text_area(label, text, height=120, key=key)
        with st.container(horizontal=True, vertical_alignment="center"):
            pressed = st.form_submit_button(
                button, icon=":material/play_arrow:", disabled=facts is None
            )
            if choice is not None:
                controls.note(_how(choice.model.name, sampling, chat))
    if not pressed or choice is None or choice.stands_in:
        return
    try:
        given = pasted(text, one=True)
    except ValueError as error:
        controls.refused("This cannot be run:", error)
        return
    understood()
    start(Request(choice.model, given, sampling, chat), trace, side=side)
    st.rerun()


def _how(model: str, sampling: Sampling | None, chat: bool) -> str:
    words = [f"Runs through {model}, as chosen above"]
    if chat:
        words.append("in its chat template")
    if sampling:
        words.append(f"continued by {counted(sampling.new_tokens, 'token', 'tokens')}")
    return f"{', '.join(words)}."
