"""Where the tokens of one text, their layers and the path of one of them stand on the page."""

from collections.abc import Callable

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.trace import Trace
from app.views.prompts import colour_by, panels, text_choice, token_strip
from app.views.prompts.meaning import Meaning
from app.views.prompts.panels import WINDOW
from app.views.shared import controls, expert_chooser, layer_chooser, selecting
from app.views.shared.drawing import draw, draw_file, draw_menu
from app.views.shared.layer_names import names_of
from app.views.shared.theme import token_mark
from data.routing import NO_EXPERT, PHASES


def draw_text(reference: Trace, trace: Trace, doc_id: int) -> None:
    """A text of `trace`; the reference, in the sidebar, may tell more of the model's experts."""
    routing, of_run = panels.text_routing(trace, doc_id), trace != reference
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        layer_id = layer_chooser.layer_of(trace, of_run=of_run)
        colours = _colours(reference, trace, routing, layer_id=layer_id)
    strip, every_layer, path = st.container(), st.container(), st.container()
    positions = panels.positions(routing)

    def select(token: int) -> None:
        text_choice.choose_token(doc_id, positions[token], of_run=of_run)
        st.session_state.part = token // WINDOW + 1

    with path:  # drawn first: its number is the token that the others mark
        st.subheader("The path of one token", anchor=False)
        left, right = st.columns([1, 3], gap="large")
        with left:
            token = text_choice.token(doc_id, positions, of_run=of_run)
        _path(trace, routing, colours, token=token, layer_id=layer_id, facts=left, figure=right)
    with strip:
        _strip(trace, routing, colours, selected=token, layer_id=layer_id, on_click=select)
    with every_layer:
        _every_layer(trace, routing, colours, selected=token, layer_id=layer_id, on_click=select)
    draw_file(routing, name=f"routing_of_text_{doc_id}", subject=trace)


def _colours(reference: Trace, trace: Trace, routing: pd.DataFrame, *, layer_id: int) -> Meaning:
    known = colour_by.source(reference, trace)
    by = controls.choice(
        "Colour by",
        colour_by.CHOICES,
        key="colour_by",
        default=colour_by.suggested(known, layer_id),
    )
    return colour_by.meaning(
        by,
        panels.of_layer(routing, layer_id),
        controls.palette(),
        trace=known,
        where=f"the trace {known.name}" if known == reference else "your run",
        layer_id=layer_id,
    )


def _strip(
    trace: Trace,
    routing: pd.DataFrame,
    colours: Meaning,
    *,
    selected: int,
    layer_id: int,
    on_click: Callable[[int], None],
) -> None:
    panel = panels.strip(routing, colours, layer_id=layer_id, names=names_of(trace))
    controls.answer(panel.answer)
    here = panels.of_layer(routing, layer_id)
    if (here.expert_id == NO_EXPERT).all():
        return
    token_strip.draw(
        here,
        colours,
        alt=panel.alt,
        chosen=panels.chosen(routing, layer_id=layer_id),
        notes=panels.drop_notes(routing, layer_id=layer_id),
        selected=selected,
        reveal=selecting.arrived() and bool(selecting.current().tokens),
        marked=panels.choosing(routing, expert_chooser.selected(layer_id), layer_id=layer_id),
        on_click=on_click,
    )
    controls.note(panel.note)
    draw_menu(panel.table, name=panel.name, chart=token_strip.KEY, subject=trace)


def _every_layer(
    trace: Trace,
    routing: pd.DataFrame,
    colours: Meaning,
    *,
    selected: int,
    layer_id: int,
    on_click: Callable[[int], None],
) -> None:
    st.subheader("Every layer", anchor=False)
    parts, part = -(-len(panels.token_texts(routing)) // WINDOW), 1
    if parts > 1:
        if st.session_state.get("part", 1) > parts:
            del st.session_state["part"]
        part = st.pagination(parts, default=selected // WINDOW + 1, key="part")

    def clicked() -> None:
        if cell := controls.clicked("tokens_by_layers"):
            on_click((part - 1) * WINDOW + cell[1])

    panel = panels.every_layer(
        routing,
        controls.palette(),
        colours,
        selected=selected,
        layer_id=layer_id,
        part=part,
        names=names_of(trace),
    )
    draw(panel, subject=trace, on_select=clicked)


def _path(
    trace: Trace,
    routing: pd.DataFrame,
    colours: Meaning,
    *,
    token: int,
    layer_id: int,
    facts: DeltaGenerator,
    figure: DeltaGenerator,
) -> None:
    with facts:
        st.code(token_mark(panels.token_texts(routing)[token]), language=None)
        controls.note(_facts(panels.routes_of(routing, token)))
    panel = panels.path(
        routing,
        controls.palette(),
        colours,
        token=token,
        layer_id=layer_id,
        names=names_of(trace),
    )
    with figure:
        draw(panel, subject=trace)


def _facts(routes: pd.DataFrame) -> str:
    row = routes.iloc[0]
    loss = "unknown" if pd.isna(row.loss) else f"{row.loss:.2f} nats"
    facts = [f"Loss: {loss}", f"Phase: {PHASES[row.phase]}"]
    if routes.entropy.notna().any():
        facts.append(f"Gate entropy: {routes.drop_duplicates('layer_id').entropy.mean():.2f} nats")
    return " · ".join(facts)
