"""Two runs beside each other on the page: their texts, to be edited and run again, and flips."""

from collections.abc import Mapping
from dataclasses import replace

import streamlit as st

from analysis.matching.flips import require_same_shape
from app.jobs.prompts import Result
from app.trace import BY_IDENTITY, Trace, open_trace
from app.views.prompts import again, pair_panels, text_choice
from app.views.prompts.model_choice import Choice
from app.views.prompts.panels import WINDOW, text_routing
from app.views.prompts.run import FIRST, SECOND, forget
from app.views.prompts.token_pair import TokenPair, token_pair
from app.views.shared import controls, layer_chooser
from app.views.shared.drawing import draw as draw_panel
from app.views.shared.layer_names import names_of
from app.workspace import trace_file

LABELS = {FIRST: "First text", SECOND: "Second text"}
KEYS = {FIRST: "text", SECOND: "text_beside"}  # of the choice of a text


def draw(reference: Trace, choice: Choice | None, runs: Mapping[str, Result]) -> None:
    traces = {side: open_trace(trace_file(runs[side].path)) for side in LABELS}
    doc_ids = {}
    for column, (side, label) in zip(st.columns(2, gap="large"), LABELS.items(), strict=True):
        with column:
            doc_ids[side] = text_choice.draw(traces[side], key=KEYS[side])
            label = f"{label}, read by {controls.unmarked(runs[side].model)}"
            again.ask(reference, choice, runs[side], doc_ids[side], side=side, label=label)
    st.button(
        "Remove the second text",
        key="remove_beside",
        icon=":material/close:",
        on_click=forget,
        args=(SECOND,),
    )
    try:
        found = _compared(traces[FIRST], doc_ids[FIRST], traces[SECOND], doc_ids[SECOND])
    except ValueError as error:
        controls.refused("The choices of these two runs cannot be compared.", error)
        return
    _draw_pair(found, traces[FIRST])


@st.cache_resource(max_entries=8, show_spinner="Comparing the texts…", hash_funcs=BY_IDENTITY)
def _compared(first: Trace, doc_id: int, second: Trace, other_doc_id: int) -> TokenPair:
    info, other = replace(first.info, name="the first"), replace(second.info, name="the second")
    require_same_shape(info, other)
    return token_pair(
        text_routing(first, doc_id),
        text_routing(second, other_doc_id),
        info.layer_sizes,
        one_model=info.model_sha256 == other.model_sha256 != "",
    )


def _draw_pair(found: TokenPair, trace: Trace) -> None:
    names, palette = names_of(trace), controls.palette()
    layer_id = layer_chooser.layer_of(trace)
    controls.answer(pair_panels.answer(found, layer_id=layer_id, layer=names[layer_id]))
    if not found.columns.same.any():
        return
    controls.swatches(pair_panels.legend(palette))
    st.html(pair_panels.markup(found, palette, layer_id=layer_id, layer=names[layer_id]))
    controls.note(pair_panels.note(names[layer_id]))
    controls.note(pair_panels.context(found))
    st.subheader("Every layer", anchor=False)
    panel = pair_panels.every_layer(found, palette, part=_part(found), names=names)
    draw_panel(panel, subject=trace)


def _part(found: TokenPair) -> int:
    """Of the columns, counted from 1."""
    parts = -(-len(found.columns) // WINDOW)
    if parts == 1:
        return 1
    if st.session_state.get("part_of_pair", 1) > parts:
        del st.session_state["part_of_pair"]
    return st.pagination(parts, key="part_of_pair")
