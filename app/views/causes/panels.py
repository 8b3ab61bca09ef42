"""What came of leaving experts out, by domain and one by one, and of the changes of the paper."""

import pandas as pd

from analysis.causes import DOUBLE
from app.studies import cause_words
from app.views.causes.figures import cause_rows, change_lines, change_points, verdict_bars
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

ROWS = 8  # specialists in one figure
EXPERT = ["layer_id", "expert_id", "domain"]
SHOWN = (*EXPERT, "verdict", "estimate", "low", "high", "q", "n_groups", "n_documents", "n_choices")
AXES = {
    "top experts masked": "best experts masked for each token",
    "experts activated": "routed experts activated",
}
CAUSES_NOTE = (
    "Colour: the expert's own domain. Bars: 95 % intervals over groups of texts. Labels: "
    "LAYER:EXPERT. Comparable experts: up to 20 of the layer, drawn at random among those with "
    "like choices in the domain; they cost what as many choices as the expert's cost. One half of "
    "the groups chose the specialists, the other half judged them. The figure shows what the model "
    "loses at once, not what it would lose if it had been trained without the expert."
)
EXPERIMENTS_ANSWER = (
    "The experiments of the DeepSeekMoE paper on the model of this workspace: the loss on held-out "
    "texts with the best experts masked, with the shared experts replaced, and with fewer experts "
    "activated."
)
_ROWS_ALT = (
    "Change in loss on each specialist's own domain, on the others, and for comparable experts"
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
    own = causes[causes.claimed & (causes.group == DOUBLE)]
    return list(own.domain.unique()) if len(own) > ROWS else []


def claims_of(causes: pd.DataFrame) -> pd.DataFrame:
    """The rows of specialists, without those of the experts that were tested beside them."""
    return causes[causes.claimed]


def specialists(causes: pd.DataFrame) -> Panel:
    """Every claim with its verdict and what its own domain lost; the file has all that was
    measured."""
    own = claims_of(causes)
    own = own[own.group == "own"]
    return Panel(name="causes", table=causes, preview=own[[*SHOWN]])


def verdicts(causes: pd.DataFrame, palette: Palette) -> Panel:
    claims = claims_of(causes)
    return Panel(
        name="causes_verdicts",
        title="Specialists of each domain",
        figure=verdict_bars(claims, palette),
        alt="Specialists by domain and verdict",
        note=f"Coloured: confirmed. {cause_words.undecided(causes)}".strip(),
        table=claims[claims.group == DOUBLE],
    )


def of_domain(causes: pd.DataFrame, palette: Palette, *, domain: str) -> Panel:
    claims = claims_of(causes)
    claims = claims[claims.domain == domain]
    rows = clearest(claims)
    return Panel(
        name="causes_rows",
        figure=cause_rows(rows, palette),
        alt=_ROWS_ALT,
        note=(
            f"Shown: {len(rows[EXPERT].drop_duplicates())} of {(claims.group == DOUBLE).sum()}, "
            "those with the clearest double difference. The table lists all."
        ),
        table=rows,
    )


def every_specialist(causes: pd.DataFrame, palette: Palette) -> Panel:
    claims = claims_of(causes)
    figure = cause_rows(claims, palette)
    return Panel(name="causes_rows", figure=figure, alt=_ROWS_ALT, table=claims)


def clearest(causes: pd.DataFrame) -> pd.DataFrame:
    """The rows of the ROWS specialists whose double difference is surest to be large."""
    differences = causes[causes.group == DOUBLE].sort_values("low", ascending=False)
    return differences[EXPERT].head(ROWS).merge(causes, on=EXPERT)


def experiments(table: pd.DataFrame, palette: Palette) -> list[Panel]:
    """What the DeepSeekMoE paper did to routing, a panel each. table: experiment, value, domain,
    estimate, low, high, p, q, n_groups, n_documents, n_tokens."""
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
