"""Several trainings in the same figures, a line each."""

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from app.views.shared import controls
from app.views.training import tables as training_tables
from app.views.training.figures import bits_dots, step_lines, training_colors, training_lines
from app.views.training.panels import INFORMATION, SATURATION, Panel, axis, draw
from app.views.training.record import TrainingRecord

Table = Callable[[TrainingRecord], pd.DataFrame]


def show(records: Sequence[TrainingRecord], by: str) -> None:
    """All of several trainings; the figures of the first alone follow."""
    names = [record.name for record in records]
    controls.swatches(training_colors(names, controls.palette()))
    draw(compared(records, by), training="trainings")
    st.subheader(controls.unmarked(names[0]), anchor=False)


def compared(records: Sequence[TrainingRecord], by: str) -> list[Panel]:
    """Several trainings, a line each; figures of which none has anything are left out."""
    palette, along, panels = controls.palette(), axis(records[0], by), []
    for title, value, name, unit, form, of in COMPARED:
        tables = {record.name: of(record) for record in records}
        if all(table.empty for table in tables.values()):
            continue
        lines = training_lines(tables, palette, value=value)
        figure = step_lines(lines, palette, axis=along, title=unit, form=form)
        table = pd.concat(tables, names=["training", None]).reset_index("training")
        note = "Dotted: by chance, in the colour of each." if "null" in table else ""
        panels.append(Panel(title, figure, table, f"compared_{name}", note))
    bits = {
        record.name: record.bits.set_index("domain").moe
        for record in records
        if record.bits is not None
    }
    if bits:
        colors = training_colors([record.name for record in records], palette)
        figure = bits_dots(bits, palette, colors)
        table = pd.DataFrame(bits).rename_axis("domain").reset_index()
        panels.append(Panel("Held-out text", figure, table, "compared_bits_per_byte"))
    return panels


def _mean(
    value: str, of: Callable[[TrainingRecord], pd.DataFrame]
) -> Callable[[TrainingRecord], pd.DataFrame]:
    """Mean over layers."""
    return lambda record: (
        of(record).groupby(["step", "tokens"], as_index=False, dropna=False)[[value, "null"]].mean()
    )


def _worst(record: TrainingRecord) -> pd.DataFrame:
    return record.layers.groupby(["step", "tokens"], as_index=False)[["max_violation"]].max()


def _activated(record: TrainingRecord) -> pd.DataFrame:
    found = record.layers.dropna(subset="chosen")
    return found.groupby(["step", "tokens"], as_index=False)[["chosen"]].mean()


COMPARED = (  # title, column, file, unit, form, table of a training
    (
        *("Experts with a domain", "share", "experts_with_a_domain", "of all experts", ".0%"),
        training_tables.with_a_domain,
    ),
    (
        *("Router saturation, mean of layers", "saturation", "router_saturation", SATURATION),
        *(".0%", _mean("saturation", training_tables.saturation)),
    ),
    (
        *("Domain told by one choice, mean of layers", "information_share", "domain_information"),
        *(INFORMATION, ".1%", _mean("information_share", training_tables.information)),
    ),
    (
        *("Loss", "loss", "loss", "nats per token", ".3f"),
        lambda record: record.log[["step", "tokens", "loss"]],
    ),
    ("Balance, worst layer", "max_violation", "max_violation", "MaxVio", ".2f", _worst),
    (
        *("Experts a token activates, mean of layers", "chosen", "activated_experts", "experts"),
        *(".2f", _activated),
    ),
)
