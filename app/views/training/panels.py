"""The figures of one training, each with its table."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app.views.shared import controls
from app.views.shared.theme import domain_colors
from app.views.specialization.figures import domain_order
from app.views.training import summary, tables
from app.views.training.figures import (
    Axis,
    Line,
    bits_dots,
    domain_lines,
    layer_lines,
    loss_lines,
    step_lines,
)
from app.views.training.play import lift_play
from app.views.training.record import TrainingRecord

SATURATION = "share of final choices"
INFORMATION = "of the domain's entropy"


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    figure: go.Figure
    table: pd.DataFrame
    name: str  # of its file
    note: str = ""


def show(record: TrainingRecord, by: str) -> None:
    """All of one training."""
    domains = record.snapshots.domains if record.snapshots else ()
    logged = [*record.domain_loss.domain, *record.domain_share.domain]
    controls.legend(list(dict.fromkeys([*domains, *logged])))
    draw(settling(record, by), training=record.name)
    play(record)
    if not record.log.empty:
        st.subheader("Loss and load", anchor=False)
        draw(course(record, by), training=record.name)


def draw(panels: Sequence[Panel], *, training: str) -> None:
    """Two abreast."""
    for place, panel in enumerate(panels):
        if place % 2 == 0:
            columns = st.columns(2, gap="large")
        with columns[place % 2]:
            st.markdown(f"**{panel.title}**")
            controls.chart(panel.figure, alt=f"{panel.title} along the training", key=panel.name)
            if panel.note:
                controls.note(panel.note)
            controls.download(panel.table, name=panel.name, trace=training)


def axis(record: TrainingRecord, by: str) -> Axis:
    """Stages as far as they have begun."""
    steps = [*record.log.step[-1:], *(record.snapshots.steps[-1:] if record.snapshots else [])]
    now, first, spans = max(steps, default=0), 0, []
    for name, last in record.stages:
        if first >= now:
            break
        ends = pd.Series([first, min(last, now)])
        low, high = ends if by == "step" else record.tokens_at(ends)
        spans.append((name, float(low), float(high)))
        first = last
    return Axis(by=by, stages=tuple(spans))


def settling(record: TrainingRecord, by: str) -> list[Panel]:
    """How experts took to domains and routers settled; empty without snapshots."""
    palette, along = controls.palette(), axis(record, by)
    panels = []
    if tables.compares_domains(record):
        table = tables.experts(record)
        lines = domain_lines(table, palette, value="experts", null="by chance")
        figure = step_lines(lines, palette, axis=along, title="experts", form=".0f")
        note = summary.experts_note(record)
        panels.append(Panel("Experts by domain", figure, table, "experts_by_domain", note))
    if record.snapshots is not None:
        table = tables.saturation(record)
        lines = layer_lines(table, palette, value="saturation", null="chance")
        figure = step_lines(lines, palette, axis=along, title=SATURATION, form=".0%")
        far = "" if record.state == "finished" else " so far"
        last = f"Final: the choices at step {record.snapshots.steps[-1]:,}, the last snapshot{far}."
        panels.append(Panel("Router saturation", figure, table, "router_saturation", last))
    if tables.compares_domains(record):
        table = tables.information(record)
        lines = layer_lines(table, palette, value="information_share", null="shuffled labels")
        figure = step_lines(lines, palette, axis=along, title=INFORMATION, form=".1%")
        panels.append(Panel("Domain told by one choice", figure, table, "domain_information"))
    if record.bits is not None:
        panels.append(_bits(record))
    return panels


def _bits(record: TrainingRecord) -> Panel:
    """The model in the colours of the domains, its dense twin a ring."""
    assert record.bits is not None
    palette, table = controls.palette(), record.bits.set_index("domain")
    models = {"dense": table.dense} if "dense" in table else {}
    known = domain_colors(list(table.index), palette) | {"all": palette.text}
    colors = {"dense": palette.muted, "MoE": [known[name] for name in table.index]}
    figure = bits_dots(models | {"MoE": table.moe}, palette, colors)
    return Panel("Held-out text", figure, record.bits, "bits_per_byte")


def course(record: TrainingRecord, by: str) -> list[Panel]:
    """What the log says."""
    palette, along, log = controls.palette(), axis(record, by), record.log

    def lined(lines: list[Line], title: str, form: str = ".3f") -> go.Figure:
        return step_lines(lines, palette, axis=along, title=title, form=form)

    losses = lined(loss_lines(log, record.dense_log, palette), "nats per token")
    panels = [Panel("Loss", losses, log, "training_log")]
    by_domain, drawn = record.domain_loss.dropna(), record.domain_share
    if not by_domain.empty:
        figure = lined(domain_lines(by_domain, palette, value="value"), "nats per token")
        panels.append(Panel("Loss by domain", figure, by_domain, "loss_by_domain"))
    if not record.layers.empty:
        table = record.layers[["step", "tokens", "layer_id", "max_violation"]]
        figure = lined(layer_lines(table, palette, value="max_violation"), "MaxVio, balanced 0")
        panels.append(Panel("Balance", figure, table, "max_violation"))
    chosen = record.layers[["step", "tokens", "layer_id", "chosen"]].dropna()
    if not chosen.empty:
        figure = lined(layer_lines(chosen, palette, value="chosen"), "experts", ".2f")
        panels.append(Panel("Experts a token activates", figure, chosen, "activated_experts"))
    if not drawn.empty:
        figure = lined(domain_lines(drawn, palette, value="value"), "of the sequences", ".1%")
        panels.append(Panel("What was drawn", figure, drawn, "drawn_domains"))
    return panels


def play(record: TrainingRecord) -> None:
    """A layer's experts against the domains, one snapshot after the other."""
    found = record.snapshots
    if found is None or not tables.compares_domains(record):
        return
    st.subheader("Step by step", anchor=False)
    num_layers = found.tokens_NLE[found.steps[-1]].shape[1]
    layer_id = controls.layer(num_layers)
    made = tables.frames(found, layer_id)
    figure = lift_play(
        [frame.lift_EG for frame in made],
        [frame.domain_E for frame in made],
        controls.palette(),
        labels=[_label(record, frame.step) for frame in made],
        domains=found.domains,
        order_E=domain_order(made[-1].lift_EG),
    )
    controls.chart(
        figure,
        alt=f"Heatmap that plays: lift of every domain for the experts of layer {layer_id}",
        key="play",
    )
    controls.note(
        "Lift of a domain's texts in an expert over their share in the layer, at each snapshot. "
        "Experts stand in the order of their domain at the last one."
    )
    table = tables.frames_table(made, found.domains)
    controls.download(table, name=f"lift_by_step_layer_{layer_id}", trace=record.name)


def _label(record: TrainingRecord, step: int) -> str:
    stage = record.stage_at(step)
    return f"step {step:,}" + (f", {stage}" if stage else "")
