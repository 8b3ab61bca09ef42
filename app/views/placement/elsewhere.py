"""What the plan is worth on a phase, on a domain, and on later texts."""

import pandas as pd

from analysis.placement.table import BUSIEST, Compared
from app.studies.placement import ALL_TEXTS, BEFORE, TODAY, YESTERDAY, Planned
from app.studies.placement_words import titles, with_interval
from app.views.placement.figures import map_intervals
from app.views.placement.panels import IMBALANCE
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette
from data.words import counted


def holds_panel(table: pd.DataFrame, of: Planned, palette: Palette) -> Panel:
    """The map on each phase and domain."""
    rows = table[table.measure == BUSIEST].assign(name=lambda rows: rows.texts)
    after = rows[rows.plan == of.settings.policy].reset_index(drop=True)
    parts = after[after.texts != ALL_TEXTS] if len(after) > 1 else after
    return Panel(
        name="placement_by_texts",
        title="Where the plan holds",
        table=table,
        answer=_least_even(parts),
        figure=map_intervals(
            rows,
            palette,
            measure=IMBALANCE,
            series={BEFORE: titles(of)[BEFORE], of.settings.policy: "plan"},
            references={"balanced": 1.0},
        ),
        alt="Load of the busiest GPU by phase and domain, before and after, with intervals",
        note=(
            f"Grey: {titles(of)[BEFORE]}; coloured: the plan. Each row has only the texts of its "
            "phase or domain that measure; without a bar there are too few."
        ),
    )


def _least_even(parts: pd.DataFrame) -> str:
    value = parts.estimate.astype(float)
    worst = parts.iloc[int(value.argmax())]
    if len(parts) > 1 and value.max() - value.min() < 0.005:
        return f"The plan is as even on all: its busiest GPU has {with_interval(worst)} the mean."
    load = f"busiest GPU has {with_interval(worst)} the mean load"
    if len(parts) == 1:
        return f"On {worst['name']} the plan's {load}."
    return f"The plan is least even on {worst['name']}: its {load}."


def drift_panel(compared: Compared, of: Planned, palette: Palette, *, by_time: bool) -> Panel:
    rows = compared.table[compared.table.measure == BUSIEST]
    names = {BEFORE: titles(of)[BEFORE], YESTERDAY: YESTERDAY, TODAY: TODAY}
    old, new = (compared.row(plan, BUSIEST) for plan in (YESTERDAY, TODAY))
    order = (
        " Texts lie in the order of their capture: where that is domain by domain, this is a "
        "change of domain and not of time."
    )
    return Panel(
        name="placement_drift",
        title="Yesterday's plan on today's texts",
        table=compared.table,
        answer=(
            f"A plan of the earlier texts leaves the busiest GPU of the later ones at "
            f"{with_interval(old)} the mean load, a plan of their own at {with_interval(new)}."
        ),
        figure=map_intervals(
            rows.assign(name=rows.plan.map(names)),
            palette,
            measure=IMBALANCE,
            series={"": "busiest GPU"},
            references={"balanced": 1.0, "random maps": float(rows.random.iloc[0])},
        ),
        alt="Load of the busiest GPU on later texts under three maps, with intervals",
        note=(
            f"Measured on {counted(int(rows.n_groups.iloc[0]), 'group', 'groups')} of later texts "
            "that made none of these "
            f"maps.{order if by_time else ''}"
        ),
    )
