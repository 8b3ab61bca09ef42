"""The figures of one training, each with its table."""

import pandas as pd
import plotly.graph_objects as go

from app.views.shared.panel import Panel
from app.views.shared.theme import Palette, domain_colors
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
INFORMATION = "share of the domain's entropy"


def panels(
    record: TrainingRecord, palette: Palette, *, by: str = "step", layer_id: int = 0
) -> list[Panel]:
    """Routing, then the log, then one layer's experts snapshot by snapshot, as far as recorded."""
    drawn = [*routing(record, palette, by=by), *log(record, palette, by=by)]
    return [*drawn, play(record, palette, layer_id=layer_id)] if plays(record) else drawn


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


def routing(record: TrainingRecord, palette: Palette, *, by: str) -> list[Panel]:
    """How experts took to domains and routers settled; empty without snapshots."""
    along, drawn = axis(record, by), []
    if tables.compares_domains(record):
        table = tables.experts(record)
        lines = domain_lines(table, palette, value="experts", null="by chance")
        figure = step_lines(lines, palette, axis=along, title="experts", form=".0f")
        note = summary.experts_note(record)
        drawn.append(_panel("Experts by domain", figure, table, "experts_by_domain", note))
    if record.snapshots is not None:
        table = tables.saturation(record)
        lines = layer_lines(table, palette, value="saturation", null="chance")
        figure = step_lines(lines, palette, axis=along, title=SATURATION, form=".0%")
        far = "" if record.state == "finished" else " so far"
        last = f"Final: the choices at step {record.snapshots.steps[-1]:,}, the last snapshot{far}."
        drawn.append(_panel("Router saturation", figure, table, "router_saturation", last))
    if tables.compares_domains(record):
        table = tables.information(record)
        lines = layer_lines(table, palette, value="information_share", null="shuffled labels")
        figure = step_lines(lines, palette, axis=along, title=INFORMATION, form=".1%")
        title = "Information about the domain"
        drawn.append(_panel(title, figure, table, "domain_information"))
    if record.bits is not None:
        drawn.append(_bits(record.bits, palette))
    return drawn


def _panel(title: str, figure: go.Figure, table: pd.DataFrame, name: str, note: str = "") -> Panel:
    alt = f"{title} over the course of training"
    return Panel(title=title, figure=figure, table=table, name=name, note=note, alt=alt)


def _bits(bits: pd.DataFrame, palette: Palette) -> Panel:
    """The model in the colours of the domains, its dense twin a ring."""
    table = bits.set_index("domain")
    models = {"dense": table.dense} if "dense" in table else {}
    known = domain_colors(list(table.index), palette) | {"all": palette.text}
    colors = {"dense": palette.muted, "MoE": [known[name] for name in table.index]}
    figure = bits_dots(models | {"MoE": table.moe}, palette, colors)
    return _panel("Held-out text", figure, bits, "bits_per_byte")


def log(record: TrainingRecord, palette: Palette, *, by: str) -> list[Panel]:
    """What the log says; empty without a line."""
    if record.log.empty:
        return []
    along = axis(record, by)

    def lined(lines: list[Line], title: str, form: str = ".3f") -> go.Figure:
        return step_lines(lines, palette, axis=along, title=title, form=form)

    losses = lined(loss_lines(record.log, record.dense_log, palette), "nats per token")
    drawn = [_panel("Loss", losses, record.log, "training_log")]
    by_domain, shares = record.domain_loss.dropna(), record.domain_share
    if not by_domain.empty:
        figure = lined(domain_lines(by_domain, palette, value="value"), "nats per token")
        drawn.append(_panel("Loss by domain", figure, by_domain, "loss_by_domain"))
    if not record.layers.empty:
        table = record.layers[["step", "tokens", "layer_id", "max_violation"]]
        figure = lined(layer_lines(table, palette, value="max_violation"), "MaxVio, balanced 0")
        drawn.append(_panel("Balance", figure, table, "max_violation"))
    chosen = record.layers[["step", "tokens", "layer_id", "chosen"]].dropna()
    if not chosen.empty:
        figure = lined(layer_lines(chosen, palette, value="chosen"), "experts", ".2f")
        drawn.append(_panel("Experts activated per token", figure, chosen, "activated_experts"))
    if not shares.empty:
        lines = domain_lines(shares, palette, value="value")
        figure = lined(lines, "share of the sequences", ".1%")
        drawn.append(_panel("Domains drawn for training", figure, shares, "drawn_domains"))
    return drawn


def plays(record: TrainingRecord) -> bool:
    return record.snapshots is not None and tables.compares_domains(record)


def play(record: TrainingRecord, palette: Palette, *, layer_id: int) -> Panel:
    """A layer's experts against the domains, one snapshot after the other."""
    snapshots = record.snapshots
    assert snapshots is not None
    frames = tables.frames(snapshots, layer_id)
    figure = lift_play(
        [frame.lift_EG for frame in frames],
        [frame.domain_E for frame in frames],
        palette,
        labels=[_label(record, frame.step) for frame in frames],
        domains=snapshots.domains,
        order_E=domain_order(frames[-1].lift_EG),
    )
    return Panel(
        name=f"lift_by_step_layer_{layer_id}",
        figure=figure,
        alt=f"Animated heatmap: lift of every domain for the experts of layer {layer_id}",
        note=(
            "Lift at each snapshot: a domain's share of an expert's choices, divided by its share "
            "of the layer's choices. Experts are ordered by their domain at the last snapshot."
        ),
        table=tables.frames_table(frames, snapshots.domains),
    )


def _label(record: TrainingRecord, step: int) -> str:
    stage = record.stage_at(step)
    return f"step {step:,}" + (f", {stage}" if stage else "")
