"""Where the panels of one training, and those of several, stand on the page."""

import streamlit as st

from app.views.shared import controls
from app.views.shared.controls import unmarked
from app.views.shared.drawing import draw, draw_abreast
from app.views.training import overlay, panels, summary, tables
from app.views.training.figures import training_colors
from app.views.training.record import TrainingRecord


def draw_trainings(records: list[TrainingRecord], *, by: str) -> None:
    """All of the first, below what it has in common with the others."""
    first = records[0]
    palette = controls.palette()
    if figures := summary.headline(first):
        controls.headline(figures)
    controls.answer(summary.answer(first))
    for missing in summary.missing(first):
        st.info(missing)
    if len(records) > 1:
        controls.swatches(training_colors([one.name for one in records], palette))
        draw_abreast(overlay.panels(records, palette, by=by), subject="trainings")
        st.subheader(unmarked(first.name), anchor=False)
    controls.legend(summary.domains(first))
    draw_abreast(panels.routing(first, palette, by=by), subject=first.name)
    if panels.plays(first):
        assert first.snapshots is not None
        st.subheader("Step by step", anchor=False)
        layer_id = controls.layer(
            tables.num_layers(first.snapshots), key="training_layer", bind="query-params"
        )
        draw(panels.play(first, palette, layer_id=layer_id), subject=first.name, key="play")
    if not first.log.empty:
        st.subheader("Loss and load", anchor=False)
        draw_abreast(panels.log(first, palette, by=by), subject=first.name)
