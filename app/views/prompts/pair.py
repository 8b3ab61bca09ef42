"""Two runs beside each other on the page: their texts, to be edited and run again, and flips."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
import streamlit as st

from analysis.matching.flips import require_same_shape
from app.prompt_runs import Run
from app.trace import BY_IDENTITY, Trace
from app.views.prompts import again, pair_panels, run_facts, text_choice
from app.views.prompts.model_choice import Choice
from app.views.prompts.panels import WINDOW, text_routing
from app.views.prompts.run import FIRST, SECOND, forget, opened
from app.views.prompts.token_pair import TokenPair, token_pair
from app.views.shared import controls, layer_chooser
from app.views.shared.drawing import draw as draw_panel
from app.views.shared.drawing import draw_menu
from app.views.shared.layer_names import names_of

TOKENS = "tokens_of_both"  # the key of their place on the page
LABELS = {FIRST: "First run", SECOND: "Second run"}


def draw(reference: Trace, choice: Choice | None, runs: Mapping[str, Run]) -> None:
    traces = {side: opened(runs[side]) for side in LABELS}
    doc_ids = {}
    for column, (side, label) in zip(st.columns(2, gap="large"), LABELS.items(), strict=True):
        with column:
            doc_ids[side] = text_choice.draw(traces[side], side=side)
            run_facts.tell(runs[side])
            again.ask(reference, choice, runs[side], doc_ids[side], side=side, label=label)
    st.button(
        "Remove the second run",
        key="remove_beside",
        icon=":material/close:",
        on_click=forget,
        args=(SECOND,),
    )
    first, second = traces.values()
    try:
        require_same_shape(
            replace(first.info, name="the first run"), replace(second.info, name="the second")
        )
    except ValueError as error:
        _draw_apart(
            str(error), {side: text_routing(traces[side], doc_ids[side]) for side in LABELS}
        )
        return
    found = _compared(first, doc_ids[FIRST], second, doc_ids[SECOND])
    _draw_pair(found, first, all_read=not any(run.truncated_tokens for run in runs.values()))


def _draw_apart(reason: str, routings: Mapping[str, pd.DataFrame]) -> None:
    """The tokens of two runs whose choices are not compared."""
    st.info(controls.unmarked(f"{reason[0].upper()}{reason[1:]}. ") + pair_panels.ELSEWHERE)
    st.page_link("views/compare/page.py", label="Compare", icon=":material/compare_arrows:")
    columns = st.columns(2, gap="large")
    for column, (side, label) in zip(columns, LABELS.items(), strict=True):
        with column:
            controls.note(f"{label}: {pair_panels.tokens_said(routings[side])}")
            _draw_tokens(pair_panels.tokens(routings[side]), routings[side], f"tokens_{side}")


def _draw_tokens(markup: str, table: pd.DataFrame, name: str, subject: str | Trace = "run") -> None:
    with st.container(key=name):
        st.html(markup)
    draw_menu(table, name=name, chart=name, subject=subject)


@st.cache_resource(max_entries=8, show_spinner="Comparing the texts…", hash_funcs=BY_IDENTITY)
def _compared(first: Trace, doc_id: int, second: Trace, other_doc_id: int) -> TokenPair:
    return token_pair(
        text_routing(first, doc_id),
        text_routing(second, other_doc_id),
        first.info.layer_sizes,
        one_model=first.info.model_sha256 == second.info.model_sha256 != "",
    )


def _draw_pair(found: TokenPair, trace: Trace, *, all_read: bool) -> None:
    names, palette = names_of(trace), controls.palette()
    layer_id = layer_chooser.layer_of(trace, of_run=True)
    layer = names[layer_id]
    controls.answer(pair_panels.answer(found, layer_id=layer_id, layer=layer, all_read=all_read))
    if found.comparable:
        controls.swatches(pair_panels.legend(palette))
    markup = pair_panels.markup(found, palette, layer_id=layer_id, layer=layer)
    _draw_tokens(markup, found.table, TOKENS, trace)
    controls.note(pair_panels.note(found, layer))
    controls.note(pair_panels.context(found))
    if not found.comparable:
        return
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
