"""What to run through the model. It stays in the tab while other pages are visited."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.jobs import prompts
from app.jobs.prompts import LIMITS, Upload, separate_texts
from app.model_folders import ModelFolder
from app.studies.model_facts import Facts
from app.studies.reader import Sampling
from app.views.prompts import folded, model_choice, uploads
from app.views.prompts.model_choice import Choice, understood
from app.views.shared import controls
from data.prompts import Prompts
from data.words import counted

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
SEPARATE = "Blank lines, or lines of ---, separate texts."
LONGEST = f"Each text has at most {LIMITS.characters:,} characters."
BACK = "given_back"  # in the session: values of controls, of a run that ended with its server
NEW_TOKENS = 256  # at most
FORM = "run_form"
BOX_HEIGHT = 142  # pixels with its label: five lines


@dataclass(frozen=True, slots=True)
class Request:
    model: ModelFolder
    prompts: Prompts | Upload
    sampling: Sampling | None
    chat: bool


def draw(*, is_open: bool, is_given_back: bool) -> tuple[Choice | None, Request | None]:
    """The model that is chosen, if there is any, and what is to be run. A form that has been given
    back what was typed into it is open, on a phone too."""
    with st.container(key=FORM):
        with st.expander(
            "Run a text", icon=":material/edit_note:", expanded=is_open or is_given_back
        ):
            choice = model_choice.draw()
            request = asked(choice) if choice else None
        if not is_given_back:
            folded.draw(FORM)
    return choice, request


def asked(choice: Choice) -> Request | None:
    """What the user asked to run, on the rerun in which they pressed the button."""
    facts, chat = choice.facts, False
    left, right = st.columns([3, 2], gap="medium")
    with left:
        text = str(
            st.text_area(
                "Paste a text", height=BOX_HEIGHT, help=LONGEST, **_kept("pasted", EXAMPLE)
            )
        )
    with right, st.container(gap="xsmall"):
        upload = uploads.draw(facts.context if facts else None)
    with st.container(horizontal=True, vertical_alignment="center", key="run_row"):
        pressed = st.button(
            "Run",
            key="run_prompts",
            type="primary",
            icon=":material/play_arrow:",
            disabled=facts is None,
        )
        settings = _continuation(facts)
        if facts is not None and facts.has_chat:
            label = "As a message to the model, in its chat template"
            chat = st.checkbox(label, help=CHAT, **_kept("chat", False))
        one = _one(text) if upload is None else False
        if upload is not None:
            controls.note(uploads.described())
    if not pressed or choice.stands_in:
        return None
    try:
        given = upload or prompts.pasted(text, one=one)
        sampling = Sampling(**settings) if settings["new_tokens"] else None
    except ValueError as error:
        controls.refused("This cannot be run:", error)
        return None
    understood()
    return Request(choice.model, given, sampling, chat)


def _kept(key: str, usual: object) -> dict[str, Any]:
    """Of a control: its value stays in the tab. It is the default, too: that is what a browser
    shows that was on the way to another page and is called back."""
    back = st.session_state.get(BACK, {}).get(key)
    value = st.session_state.get(key, usual if back is None else back)
    return {"key": key, "value": value, "persist_state": "session"}


def _one(text: str) -> bool:
    """Whether what is in the box is one text."""
    found, one = len(separate_texts(text)), False
    if found > 1:
        one = st.toggle("As one text", **_kept("one_text", False))
    number = 1 if one else found
    controls.note(f"{counted(number, 'text', 'texts')}. {SEPARATE}")
    return one


def _continuation(facts: Facts | None) -> dict[str, Any]:
    if facts is not None and not facts.continues:
        controls.note(WRITES_ANEW)
        return {"new_tokens": 0}
    label = "Let the model continue the text"
    if asked_for := st.session_state.get("new_tokens"):
        label += f" · {counted(asked_for, 'new token', 'new tokens')}"
    with st.popover(label, icon=":material/auto_awesome:", key="continuation"):
        return _sampling(facts)


def _sampling(facts: Facts | None) -> dict[str, Any]:
    """Models of transformers come with settings of their own."""
    own = facts is not None and facts.transformers
    columns = st.columns(2) * 2
    new_tokens = columns[0].number_input(
        f"New tokens (at most {NEW_TOKENS})",
        *(0, NEW_TOKENS),
        step=16,
        help="0: the text is read and not continued.",
        **_kept("new_tokens", 0),
    )
    temperature = columns[1].number_input(
        "Temperature (at most 2)",
        *(0.0, 2.0),
        step=0.1,
        placeholder=AS_SET,
        **_kept(f"temperature_{own}", None if own else 0.8),
    )
    top_p = columns[2].number_input(
        "Top-p (0.05 to 1)",
        *(0.05, 1.0),
        step=0.05,
        placeholder=AS_SET,
        **_kept(f"top_p_{own}", None if own else 0.95),
    )
    seed = columns[3].number_input("Seed (below 2³¹)", 0, 2**31 - 1, step=1, **_kept("seed", 0))
    return {"new_tokens": new_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
