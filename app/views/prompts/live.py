"""A text on the page while the model continues it: each token with where it goes, as it comes."""

from html import escape

import numpy as np
import streamlit as st

from app.jobs.job import Job
from app.jobs.live import Live
from app.views.shared import controls, progress, selecting
from app.views.shared.theme import token_mark, unseen, visible
from data.routing import NO_EXPERT
from data.words import counted

LINE_END = "\n"
STOP = "Ends the texts here. What there is until now becomes the run."


def follow(job: Job, *, key: str) -> None:
    """How far a run is, and what there is of it."""
    progress.follow(job, key=key)
    _draw(job, key=key)


@st.fragment(run_every=0.5)
def _draw(job: Job, *, key: str) -> None:
    """Nothing until the model writes."""
    live = job.live
    if not isinstance(live, Live):
        return
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"live_{key}"):
        layer_id = _layer(live.strongest_TL.shape[1], key=f"live_layer_{key}")
        st.button(
            "Stop and keep this",
            key=f"enough_{key}",
            icon=":material/stop_circle:",
            help=STOP,
            disabled=job.enough.is_set(),
            on_click=job.enough.set,
        )
    controls.note(said(live, job.total))
    st.html(markup(live, layer_id))


def _layer(num_layers: int, *, key: str) -> int:
    st.session_state[key] = min(selecting.layer_id(), num_layers - 1)
    return controls.layer(num_layers, key=key, on_change=lambda: _select(key))


def _select(key: str) -> None:
    selecting.select_layer(st.session_state[key] or 0)


def said(live: Live, texts: int) -> str:
    which = f"Text {live.text:,} of {texts:,}: " if texts > 1 else ""
    text = f"{which}{counted(live.new_tokens, 'new token', 'new tokens')}"
    if live.left_out:
        text += f"; of the prompt the last {live.prompt_tokens:,} tokens are shown"
    return f"{text}. Small number: the expert with the largest weight."


def markup(live: Live, layer_id: int) -> str:
    """The prompt pale, the continuation after it; of a long text the end is in view."""
    chips = [
        _chip(name or text, expert, new=place >= live.prompt_tokens)
        for place, (text, name, expert) in enumerate(
            zip(live.tokens, live.special, _experts(live, layer_id), strict=True)
        )
    ]
    return f'<div class="rs-live" role="log" aria-live="off"><div>{"".join(chips)}</div></div>'


def _experts(live: Live, layer_id: int) -> list[str]:
    strongest_T: np.ndarray = live.strongest_TL[:, layer_id]
    return ["" if expert == NO_EXPERT else str(expert) for expert in strongest_T.tolist()]


def _chip(token: str, expert: str, *, new: bool) -> str:
    shown = token_mark(token) if unseen(token) else visible(token)
    chip = f"<b{' class=new' if new else ''}>{escape(shown)}<sub>{expert}</sub></b>"
    return f"{chip}<br>" if LINE_END in token else chip
