"""The parts of the page Compare, one at a time: each computes what it shows."""

from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.jobs import beside
from app.studies.compared import Compared
from app.studies.comparing import naming, of_one_model
from app.studies.summary import is_large
from app.trace import Trace
from app.views.compare import every_figure as pages
from app.views.compare import flips_panels, panels, weights
from app.views.compare.figures import beside_another, on_one_scale
from app.views.shared import coming, controls
from app.views.shared.drawing import draw, draw_side_by_side
from app.views.shared.intervals import MEASURES
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel
from data.connection import TraceError

ABREAST = 2


@dataclass(frozen=True, slots=True)
class Shown:
    first: Trace
    second: Trace
    found: Compared
    notes: list[str]
    renamed: bool  # experts of the second go by the names of the first's

    @property
    def name(self) -> str:
        """Of files."""
        return f"{self.first.name} and {self.second.name}"


def compared(first: Trace, second: Trace) -> Shown:
    """Experts of another model go by the names of those that do their work, where texts tell."""
    matched, why = None, ""
    if first.path != second.path and not of_one_model(first.info, second.info):
        try:
            matched = flips_panels.study(first, second)
        except ValueError as error:
            why = str(error)
    with first.cursor() as con, second.cursor() as other:
        sides = panels.side_of(con, first), panels.side_of(other, second)
        renaming, said = naming(*sides, matched, why)
    key = "" if renaming is None else renaming.expert_LE.tobytes().hex()
    found = panels.difference(first, second, renaming, key)
    notes = [line for line in (said, *found.lacking) if line]
    return Shown(first, second, found, notes, renamed=renaming is not None)


def loads(shown: Shown, sides: list[Trace]) -> None:
    info = shown.first.info
    if shown.found.loads is None or shown.found.loads.empty:
        st.info("No expert of one is an expert of the other, so no load can be compared.")
        return
    sure = controls.only_sure(info.num_layers, info.num_experts)
    for panel in panels.loads(shown.first, shown.found, controls.palette(), only_sure=sure):
        draw(panel, subject=shown.name)


def lifts(shown: Shown, sides: list[Trace]) -> None:
    if shown.found.loads is None:
        st.info("No expert of one is an expert of the other, so no preference can be compared.")
        return
    if shown.found.lifts is None:
        st.info("Preferences for domains need two domains or more that both have.")
        return
    layer_id = _layer(shown.first)
    if not (shown.found.lifts.layer_id == layer_id).any():
        st.info("No expert of this layer is matched with one of the other model.")
        return
    experts = shown.first.info.layers[layer_id].num_experts
    sure = controls.only_sure(len(shown.found.domains), experts)
    for panel in panels.lifts(
        shown.first, shown.found, controls.palette(), layer_id=layer_id, only_sure=sure
    ):
        draw(panel, subject=shown.name)


def layers(shown: Shown, sides: list[Trace]) -> None:
    metrics = panels.metrics_of(shown.found)
    if not metrics:
        st.info("The two have different numbers of MoE layers.")
        return
    titles = {MEASURES[metric].title: metric for metric in metrics}
    metric = titles[controls.choice("Figure", list(titles), key="figure")]
    for panel in panels.by_layer(shown.first, shown.found, controls.palette(), metric=metric):
        controls.answer(panel.answer)
        draw_side_by_side(panel, subject=shown.name)


def per_token(shown: Shown, sides: list[Trace]) -> None:
    figures = panels.figures_of(shown.found)
    if not figures:
        st.info("Neither loss nor gate is known in both, and experts per token are not counted.")
        return
    figure = controls.choice("Figure", figures, key="per_token")
    for panel in panels.per_token(shown.found, controls.palette(), figure=figure):
        draw_side_by_side(panel, subject=shown.name)


def tokens(shown: Shown, sides: list[Trace]) -> None:
    """Flips of the tokens that both have, and which experts correspond."""
    found = None
    try:
        found = flips_panels.study(shown.first, shown.second)
    except ValueError as error:
        st.info(f"Their tokens cannot be compared: {error}.")
    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        if found is not None:
            titles = flips_panels.offered(found)
            title = st.selectbox("Figure", titles, key="flip", bind="query-params", width=420)
        layer_id = _layer(shown.first)
    if found is not None:
        for panel in flips_panels.panels(
            shown.first, shown.second, controls.palette(), figure=titles[title], layer_id=layer_id
        ):
            draw(panel, subject=shown.name)
    weights.draw_by_weights(shown.first, shown.second, found, layer_id=layer_id)


def every_figure(shown: Shown, sides: list[Trace]) -> None:
    """Figures of other pages, side by side on one scale, and their difference."""
    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        page = controls.choice("Page", list(pages.PAGES), key="page")
        layer_id = _layer(shown.first)
    for side in sides:
        _say_what_is_coming(side)
    found = [_figures_of(page, side, layer_id) for side in sides]
    common = [name for name in found[0] if all(name in of for of in found)]
    if not common:
        st.info(f"{page} has no figure that all of them show.")
        return
    for name in common:
        drawn = [of[name] for of in found]
        on_one_scale([panel.figure for panel in drawn if panel.figure is not None])
        for start in range(0, len(drawn), ABREAST):
            columns = st.columns(ABREAST, gap="large")
            for place, column in enumerate(columns, start):
                if place < len(drawn):
                    _draw_one(drawn[place], sides[place], column)
        if drawn[0].note:
            controls.note(drawn[0].note)
        if shown.found.loads is None or shown.renamed:  # rows are not of the same experts
            continue
        for panel in panels.differences_of(drawn, [side.name for side in sides]):
            draw(panel, subject=shown.name)


def _say_what_is_coming(side: Trace) -> None:
    """What a large trace has only as an estimate."""
    if not is_large(side.info):
        return
    if side.file.part:
        controls.note(f"{side.name} is a part of a large trace: its figures are estimates.")
        return
    beside.summary(side)
    coming.draw(side)


def _draw_one(panel: Panel, side: Trace, column: DeltaGenerator) -> None:
    with column:
        st.markdown(f"**{controls.unmarked(side.name)}**")
        if panel.answer:
            controls.answer(panel.answer)
        assert panel.figure is not None
        beside_another(panel.figure)
        controls.chart(panel.figure, alt=panel.alt, key=f"{panel.name} {side.name}")


def _figures_of(page: str, side: Trace, layer_id: int) -> dict[str, Panel]:
    try:
        return pages.figures_of(page, side, controls.palette(), min(layer_id, side.layers[-1]))
    except TraceError as error:
        controls.refused(f"{page} of {side.name} cannot be shown.", error)
        return {}


def _layer(trace: Trace) -> int:
    return controls.layer(trace.info.num_layers, names_of(trace))
