"""The parts of the page Compare, one at a time: each computes what it shows."""

from dataclasses import dataclass

import streamlit as st

from analysis.matching.experts import corresponding_layers
from app.jobs import beside
from app.studies.compared import Compared
from app.studies.naming import naming, of_one_model
from app.studies.summary import is_large
from app.trace import Trace
from app.views.compare import every_figure as pages
from app.views.compare import expert_panels, flips_panels, panels, weights
from app.views.compare.figures import beside_another, on_one_scale
from app.views.shared import coming, controls, layer_chooser
from app.views.shared.drawing import draw, draw_menu, draw_side_by_side
from app.views.shared.intervals import MEASURES
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel
from data.connection import TraceError

ABREAST = 2
ELSE = "Choose a trace of the same model, or look at every figure."


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
    notes = [_sentence(line) for line in (said, *found.lacking) if line]
    return Shown(first, second, found, notes, renamed=renaming is not None)


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:].removesuffix('.')}."


def loads(shown: Shown, sides: list[Trace]) -> None:
    info = shown.first.info
    if shown.found.loads is None or shown.found.loads.empty:
        st.info(f"No expert of one is an expert of the other, so no load can be compared. {ELSE}")
        return
    sure = controls.only_sure(info.num_layers, info.num_experts)
    for panel in expert_panels.loads(shown.first, shown.found, controls.palette(), only_sure=sure):
        draw(panel, subject=shown.name)


def lifts(shown: Shown, sides: list[Trace]) -> None:
    if shown.found.loads is None:
        st.info(
            f"No expert of one is an expert of the other, so no preference can be compared. {ELSE}"
        )
        return
    if shown.found.lifts is None:
        st.info("Preferences for domains need two domains or more that both have.")
        return
    layer_id = layer_chooser.layer_of(shown.first)
    if not (shown.found.lifts.layer_id == layer_id).any():
        st.info("No expert of this layer is matched with one of the other model.")
        return
    experts = shown.first.info.layers[layer_id].num_experts
    sure = controls.only_sure(len(shown.found.domains), experts)
    for panel in expert_panels.lifts(
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
    if shown.first.path == shown.second.path:
        st.info("The parts of a trace have no token in common.")
        return
    try:
        found = flips_panels.study(shown.first, shown.second)
    except ValueError as error:
        st.info(controls.unmarked(f"Their tokens cannot be compared, because {error}."))
        weights.draw_by_weights(shown.first, shown.second, None)
        return
    with st.container(horizontal=True, gap="large"):
        titles = flips_panels.offered(found)
        title = st.selectbox("Figure", titles, key="flip", bind="query-params", width=420)
        layer_id = layer_chooser.layer_of(shown.first)
    for panel in flips_panels.panels(
        shown.first, shown.second, controls.palette(), figure=titles[title], layer_id=layer_id
    ):
        draw(panel, subject=shown.name)
    weights.draw_by_weights(shown.first, shown.second, found, layer_id=layer_id)


def every_figure(shown: Shown, sides: list[Trace]) -> None:
    """Figures of other pages, side by side on one scale, and their difference."""
    page = controls.choice("Page", list(pages.PAGES), key="page")
    of_layer = page in pages.OF_ONE_LAYER
    layers = _corresponding(sides, layer_chooser.layer_of(shown.first) if of_layer else 0)
    titles = _titles(sides, layers if of_layer else [])
    for side in sides:
        _say_what_is_coming(side)
    if said := _unlike(sides):
        controls.note(said)
    found = [_figures_of(page, *of) for of in zip(sides, layers, strict=True)]
    common = [name for name in found[0] if all(name in of for of in found)]
    if not common:
        st.info(f"{page} has no figure that all of them show.")
        return
    for name in common:
        drawn = [of[name] for of in found]
        same = len({panel.note for panel in drawn}) == 1
        on_one_scale([panel.figure for panel in drawn if panel.figure is not None])
        for start in range(0, len(drawn), ABREAST):
            columns = st.columns(ABREAST, gap="large")
            for place, column in enumerate(columns, start):
                if place < len(drawn):
                    with column:
                        _draw_one(drawn[place], sides[place], titles[place], key=f"{name}_{place}")
                        if drawn[place].note and not same:
                            controls.note(drawn[place].note)
        if same and drawn[0].note:
            controls.note(drawn[0].note)
        if shown.found.loads is None or shown.renamed:  # rows are not of the same experts
            continue
        names = shown.first.name, shown.second.name
        panel = panels.difference_of(drawn[0], drawn[sides.index(shown.second)], names)
        if panel is not None:
            draw(panel, subject=shown.name)


def _corresponding(sides: list[Trace], layer_id: int) -> list[int]:
    """The layer of each that corresponds to this one of the first."""
    depths = [corresponding_layers(sides[0].info.num_layers, of.info.num_layers) for of in sides]
    return [int(layer_L[layer_id]) for layer_L in depths]


def _titles(sides: list[Trace], layers: list[int]) -> list[str]:
    """With the layer of each, where they have different numbers of them."""
    if not layers or len({side.info.num_layers for side in sides}) == 1:
        return [side.name for side in sides]
    pairs = zip(sides, layers, strict=True)
    return [f"{side.name}, {names_of(side)[layer_id]}" for side, layer_id in pairs]


def _unlike(sides: list[Trace]) -> str:
    """What to mind where layers have different numbers of experts; empty: they have not."""
    sizes = [sorted(set(side.info.layer_sizes.tolist())) for side in sides]
    if all(of == sizes[0] for of in sizes):
        return ""
    said = [
        f"{side.name} has {' or '.join(map(str, of))}"
        for side, of in zip(sides, sizes, strict=True)
    ]
    return (
        f"Layers have different numbers of experts ({', '.join(said)}): shares of a layer's "
        "choices are of so many, and an expert's number means nothing in another model."
    )


def _say_what_is_coming(side: Trace) -> None:
    """What a large trace has only as an estimate."""
    if not is_large(side.info):
        return
    if side.file.part:
        controls.note(f"{side.name} is a part of a large trace: its figures are estimates.")
        return
    beside.summary(side)
    coming.draw(side)


def _draw_one(panel: Panel, side: Trace, title: str, *, key: str) -> None:
    """`key`: of its place on the page."""
    of = f" · {panel.title}" if panel.title else ""
    st.markdown(f"**{controls.unmarked(title)}**{of}")
    if panel.answer:
        controls.answer(panel.answer)
    assert panel.figure is not None
    beside_another(panel.figure)
    controls.chart(panel.figure, alt=panel.alt, key=key)
    draw_menu(panel.table, name=panel.name, chart=key, subject=side)


def _figures_of(page: str, side: Trace, layer_id: int) -> dict[str, Panel]:
    try:
        return pages.figures_of(page, side, controls.palette(), layer_id)
    except TraceError as error:
        controls.refused(controls.unmarked(f"{page} of {side.name} cannot be shown."), error)
        return {}
