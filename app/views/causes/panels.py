"""What came of leaving experts out, by domain and one by one, and of the changes of the paper."""

import pandas as pd

from analysis.cause_tests import surely_confirmed
from analysis.causes import CONFIRMED
from analysis.significance import MAX_Q
from app.views.causes.figures import cause_rows, change_lines, change_points, verdict_bars
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

ROWS = 8  # specialists in one figure
EXPERT = ["layer_id", "expert_id", "domain"]
AXES = {
    "top experts masked": "best experts masked for each token",
    "experts activated": "routed experts activated",
}
CAUSES_NOTE = (
    "Colour: the expert's own domain. Bars: 95 % bootstrap intervals over texts. Labels: "
    "LAYER:EXPERT. The figure shows what the model loses at once, not what it would lose if it had "
    "been trained without the expert."
)
EXPERIMENTS_ANSWER = (
    "The experiments of the DeepSeekMoE paper on the model of this workspace: the loss on held-out "
    "texts with the best experts masked, with the shared experts replaced, and with fewer experts "
    "activated."
)
_ROWS_ALT = (
    "Change in loss on each specialist's own domain, on the others, and without its controls"
)


def panels(causes: pd.DataFrame, palette: Palette, *, domain: str | None = None) -> list[Panel]:
    """Of a table of causes. `domain`: whose specialists are drawn where there are too many to draw
    all; None: the first."""
    domains = crowded_domains(causes)
    if not domains:
        return [every_specialist(causes, palette)]
    return [verdicts(causes, palette), of_domain(causes, palette, domain=domain or domains[0])]


def crowded_domains(causes: pd.DataFrame) -> list[str]:
    """Among which to choose; none where one figure holds all specialists."""
    own = causes[causes.group == "own"]
    return list(own.domain.unique()) if len(own) > ROWS else []


def answer(causes: pd.DataFrame) -> str:
    verdicts = causes[causes.group == "own"].verdict
    count, confirmed = len(verdicts), int((verdicts == CONFIRMED).sum())
    if count == 1:
        counted = f"The specialist left out is {'' if confirmed else 'not '}confirmed"
    else:
        are = "is" if confirmed == 1 else "are"
        counted = f"Of {count:,} specialists left out, {confirmed:,} {are} confirmed"
    return (
        f"{counted}. Confirmed means that without the expert the loss on its own domain rises, by "
        "more than on the other domains and by more than without experts of similar load."
    )


def verdicts(causes: pd.DataFrame, palette: Palette) -> Panel:
    count = int((causes.group == "own").sum())
    return Panel(
        name="causes_verdicts",
        title="Specialists of each domain",
        figure=verdict_bars(causes, palette),
        alt="Specialists by domain and verdict",
        note=(
            "Coloured: confirmed. Of experts that do not matter, 95 % intervals confirm at most 1 "
            f"in 40 by chance: {count / 40:.0f} of {count:,}. With q < {MAX_Q} over all "
            f"{count:,} in each of the three comparisons: {surely_confirmed(causes):,} confirmed."
        ),
        table=causes[causes.group == "own"],
    )


def of_domain(causes: pd.DataFrame, palette: Palette, *, domain: str) -> Panel:
    own = causes[(causes.group == "own") & (causes.domain == domain)]
    rows = clearest(causes[causes.domain == domain])
    return Panel(
        name="causes_rows",
        figure=cause_rows(rows, palette),
        alt=_ROWS_ALT,
        note=(
            f"Shown: {len(rows[EXPERT].drop_duplicates())} of {len(own)}, those that differ most "
            "clearly from their controls. The table lists all."
        ),
        table=rows,
    )


def every_specialist(causes: pd.DataFrame, palette: Palette) -> Panel:
    figure = cause_rows(causes, palette)
    return Panel(name="causes_rows", figure=figure, alt=_ROWS_ALT, table=causes)


def clearest(causes: pd.DataFrame) -> pd.DataFrame:
    """The rows of the ROWS specialists that differ most clearly from their controls."""
    differences = causes[causes.group == "own - controls"].sort_values("low", ascending=False)
    return differences[EXPERT].head(ROWS).merge(causes, on=EXPERT)


def experiments(table: pd.DataFrame, palette: Palette) -> list[Panel]:
    """What the DeepSeekMoE paper did to routing, a panel each. table: experiment, value, domain,
    estimate, low, high, p, q, n_documents, n_tokens."""
    return [
        _experiment(str(name), rows, palette)
        for name, rows in table.groupby("experiment", sort=False)
    ]


def _experiment(name: str, rows: pd.DataFrame, palette: Palette) -> Panel:
    figure = (
        change_lines(rows, palette, title=AXES[name])
        if name in AXES
        else change_points(rows, palette)
    )
    return Panel(
        name=name.replace(" ", "_"),
        title=name.capitalize(),
        figure=figure,
        alt=f"Change in loss: {name}",
        table=rows,
    )
