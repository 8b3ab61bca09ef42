"""What other tools read of a trace, as buttons beside the figure that it is made of."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from analysis import queries
from app.studies.exports import EXPORTS, TOP_P, Settings, Subject, content, named
from app.trace import BY_IDENTITY, Trace
from data.file_names import file_name

BY_TRACE = ("olmoe",)  # as long as the trace, so by command


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def _made(trace: Trace, name: str, settings: Settings) -> tuple[bytes, str]:
    """The file, and what its reader should know; without a file, why there is none."""
    expert_tokens = _expert_tokens(trace)
    with trace.cursor() as con:
        try:
            made, notes = content(named(name), Subject(con, settings, expert_tokens))
        except ValueError as error:
            return b"", str(error)
    return made, "; ".join(notes)


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=BY_IDENTITY)
def _expert_tokens(trace: Trace) -> pd.DataFrame:
    """queries.expert_tokens(). Not to be changed."""
    with trace.cursor() as con:
        return queries.expert_tokens(con)


def button(trace: Trace, name: str, settings: Settings | None = None) -> None:
    export = named(name)
    made, said = _made(trace, name, settings or Settings())
    st.download_button(
        export.title.split(",")[0],
        made,
        file_name=file_name(trace.name, name) + export.suffixes[0],
        mime="application/json",
        on_click="ignore",
        key=f"tool_{name}",
        type="tertiary",
        icon=":material/download:",
        disabled=not made,
        help=said or None,
    )


def buttons(trace: Trace, *names: str) -> None:
    with st.container(horizontal=True, gap="medium"):
        for name in names:
            button(trace, name)


def draw(trace: Trace) -> None:
    """All that a page can make, with what some ask for."""
    largest = trace.info.num_experts
    with st.grid(min_column_width=140, gap="small"):
        devices = st.number_input(
            "Devices", 1, 4096, min(8, largest), key="devices", bind="query-params"
        )
        keep = st.number_input(
            "Experts to keep",
            *(1, largest, largest // 2 or 1),
            key="keep_experts",
            bind="query-params",
        )
        top_p = st.number_input(
            "ESFT: p", 0.01, 1.0, TOP_P, step=0.05, key="top_p", bind="query-params"
        )
        score = st.selectbox("ESFT: score", ["token", "gate"], key="score", bind="query-params")
    settings = Settings(devices=devices, keep=keep, top_p=top_p)
    with st.grid(min_column_width=265, gap="xsmall"):
        _every(trace, settings, score)


def _every(trace: Trace, settings: Settings, score: str) -> None:
    for export in EXPORTS:
        if export.suffixes and export.name not in BY_TRACE:
            chosen = replace(settings, score=score) if export.name == "esft" else settings
            button(trace, export.name, chosen)
