"""Several trainings in the same figures, a line each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from app.views.shared.panel import Panel
from app.views.shared.theme import Palette
from app.views.training import tables
from app.views.training.figures import Axis, bits_dots, step_lines, training_colors, training_lines
from app.views.training.panels import INFORMATION, SATURATION, axis
from app.views.training.record import TrainingRecord

CRUSHED = 4  # times as long as another one: stages are left out then, and the axis is logarithmic
Table = Callable[[TrainingRecord], pd.DataFrame]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is followed along every training."""

    title: str
    value: str  # column of the table
    name: str  # of the file
    unit: str
    form: str  # of its numbers
    table: Table


def panels(records: Sequence[TrainingRecord], palette: Palette, *, by: str) -> list[Panel]:
    """Several trainings, a line each; figures of which none has anything are left out."""
    drawn = [_lines(line, records, palette, by=by) for line in LINES]
    return [panel for panel in (*drawn, _bits(records, palette)) if panel is not None]


def _lines(
    line: Line, records: Sequence[TrainingRecord], palette: Palette, *, by: str
) -> Panel | None:
    by_training = {record.name: line.table(record) for record in records}
    if all(table.empty for table in by_training.values()):
        return None
    lines = training_lines(by_training, palette, value=line.value)
    ends = [table[by].max() for table in by_training.values() if not table.empty]
    along = axis(records[0], by) if max(ends) < CRUSHED * min(ends) else Axis(by=by)
    table = pd.concat(by_training, names=["training", None]).reset_index("training")
    return Panel(
        title=line.title,
        name=f"compared_{line.name}",
        figure=step_lines(lines, palette, axis=along, title=line.unit, form=line.form),
        alt=f"{line.title} over the course of training",
        note="Dotted: chance, in the colour of its training." if "null" in table else "",
        table=table,
    )


def _bits(records: Sequence[TrainingRecord], palette: Palette) -> Panel | None:
    bits = {
        record.name: record.bits.set_index("domain").moe
        for record in records
        if record.bits is not None
    }
    if not bits:
        return None
    colors = training_colors([record.name for record in records], palette)
    return Panel(
        title="Held-out text",
        name="compared_bits_per_byte",
        figure=bits_dots(bits, palette, colors),
        alt="Held-out text over the course of training",
        table=pd.DataFrame(bits).rename_axis("domain").reset_index(),
    )


def _mean(value: str, of: Table) -> Table:
    """Mean over layers."""
    return lambda record: (
        of(record).groupby(["step", "tokens"], as_index=False, dropna=False)[[value, "null"]].mean()
    )


def _worst(record: TrainingRecord) -> pd.DataFrame:
    return record.layers.groupby(["step", "tokens"], as_index=False)[["max_violation"]].max()


def _activated(record: TrainingRecord) -> pd.DataFrame:
    chosen = record.layers.dropna(subset="chosen")
    return chosen.groupby(["step", "tokens"], as_index=False)[["chosen"]].mean()


LINES = (
    Line(
        title="Experts with a domain",
        value="share",
        name="experts_with_a_domain",
        unit="share of all experts",
        form=".0%",
        table=tables.with_a_domain,
    ),
    Line(
        title="Router saturation, mean of layers",
        value="saturation",
        name="router_saturation",
        unit=SATURATION,
        form=".0%",
        table=_mean("saturation", tables.saturation),
    ),
    Line(
        title="Information about the domain, mean of layers",
        value="information_share",
        name="domain_information",
        unit=INFORMATION,
        form=".1%",
        table=_mean("information_share", tables.information),
    ),
    Line(
        title="Loss",
        value="loss",
        name="loss",
        unit="nats per token",
        form=".3f",
        table=lambda record: record.log[["step", "tokens", "loss"]],
    ),
    Line(
        title="Balance, worst layer",
        value="max_violation",
        name="max_violation",
        unit="MaxVio",
        form=".2f",
        table=_worst,
    ),
    Line(
        title="Experts activated per token, mean of layers",
        value="chosen",
        name="activated_experts",
        unit="experts",
        form=".2f",
        table=_activated,
    ),
)
