"""Five steps through the pages: offered at a first visit, left at any time, found again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app.views.shared import controls, left_out, selecting

HERE = Path(__file__).parent
KEY = "tour"  # in a link, too: the step, from 1


@dataclass(frozen=True, slots=True)
class Step:
    page: str
    title: str
    words: str


STEPS = (
    Step(
        "overview",
        "What a trace is",
        "A model read texts of several domains; in every layer each token chose a few experts. "
        "The bars say how many experts prefer each domain. Click a bar to see which they are.",
    ),
    Step(
        "specialization",
        "One expert",
        "A column is an expert, a row a domain; orange means chosen more often than by chance, a "
        "dot that it is sure. Click a cell: the card below shows the expert's domains, tokens and "
        "contexts, and leads on to its texts, pairs, causes and place.",
    ),
    Step(
        "prompts",
        "Your own text",
        "Type a text and run it: every token shows the expert it went to. The run is kept under "
        "My runs, and its address is a link that you can share.",
    ),
    Step(
        "domain_clusters",
        "All tokens at once",
        "Tokens that are routed alike lie together. Draw around some of them (hold Shift) to see "
        "which domains, experts and words are more frequent there than elsewhere.",
    ),
    Step(
        "placement",
        "A decision",
        "Which expert should lie on which GPU? The map is made of one half of the texts and "
        "measured on the other. Search (press /) and the chips under a page's question work on "
        "every page.",
    ),
)


def draw(page: str) -> None:
    """Before the page: the step that is on, or at a first visit the offer of a tour."""
    step = _step()
    with st.sidebar, st.container(key="tour_link"):
        st.button("Tour", icon=":material/tour:", type="tertiary", on_click=_go, args=(1,))
    if step:
        _draw_step(step)
    elif page == "overview":
        _offer()


def _step() -> int:
    """0: none is on. A link may say any."""
    asked = st.query_params.get(KEY, "")
    if asked in map(str, range(1, len(STEPS) + 1)):
        return int(asked)
    if KEY in st.query_params:
        left_out.say([f"{KEY}={asked[: left_out.LONGEST]}"])
        del st.query_params[KEY]
    return 0


def _draw_step(number: int) -> None:
    step = STEPS[number - 1]
    st.html(f"<style>.st-key-tour {{ background: {controls.palette().ground}; }}</style>")
    with st.container(border=True, key="tour"):
        st.markdown(f"**{number} of {len(STEPS)}: {step.title}**  \n{step.words}")
        with st.container(horizontal=True, gap="small"):
            if number > 1:
                st.button("Back", key="tour_back", on_click=_go, args=(number - 1,))
            if number < len(STEPS):
                label, then = "Next", number + 1
            else:
                label, then = "Done", 0
            st.button(label, key="tour_next", type="primary", on_click=_go, args=(then,))
            if then:
                st.button("Leave", key="tour_leave", type="tertiary", on_click=_go, args=(0,))


def _go(number: int) -> None:
    """In a callback. 0: the tour is over, and the page stays."""
    if not number:
        st.query_params.pop(KEY, None)
        return
    selecting.open_next(STEPS[number - 1].page, {KEY: str(number)})


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., object]:
    return st.components.v2.component(
        "routescope_tour",
        html='<p class="offer" hidden><span></span><button class="yes"></button>'
        '<button class="no"></button></p>',
        css=(HERE / "tour.css").read_text(encoding="utf-8"),
        js=(HERE / "tour.js").read_text(encoding="utf-8"),
    )


def _offer() -> None:
    """In a browser that has not answered it."""
    with st.container(key="tour_line"):
        _component()(key="tour_offer", on_start_change=_start)


def _start() -> None:
    if st.session_state["tour_offer"].start:
        _go(1)
