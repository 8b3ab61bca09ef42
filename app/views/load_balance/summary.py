"""How even the load is, in words: from the load metrics of a metric_table."""

import pandas as pd

from analysis.domain_counts import mean_over_layers
from analysis.groups import NOT_ENOUGH
from analysis.load import Absence
from analysis.significance import MAX_Q, family_size
from app.views.shared.heatmap import ZOOM, sure_mark
from app.views.shared.intervals import MEASURES, reference
from app.views.shared.layer_names import NUMBERED, LayerNames


def busiest(table: pd.DataFrame, names: LayerNames = NUMBERED) -> tuple[str, str, str]:
    """Of the least even layer."""
    worst = _extremes(table)[0]
    measure = MEASURES["load_imbalance"]
    return (
        f"Busiest expert, {names[worst.layer_id]}",
        measure.text(worst.estimate),
        reference(worst, measure, "balanced"),
    )


def mean(table: pd.DataFrame, metric: str, label: str, null: str) -> tuple[str, str, str]:
    """Over the layers that have the metric."""
    row, measure = mean_over_layers(table, metric), MEASURES[metric]
    return label, measure.text(row.estimate), reference(row, measure, null)


def dead(absence: Absence) -> tuple[str, str, str]:
    """Called dead only where all that were not chosen are more than chance."""
    name = "Dead experts" if absence.dead() == absence.count() else "Experts not chosen"
    under = f"of {absence.num_experts():,}, balanced {absence.by_chance()}"
    return name, f"{absence.count():,}", under


def load_answer(table: pd.DataFrame, absence: Absence, names: LayerNames = NUMBERED) -> str:
    worst, best = _extremes(table)
    measure = MEASURES["load_imbalance"]
    dead_text = absence.clause()
    span = measure.span(worst.low, worst.high)
    if worst.layer_id == best.layer_id:
        return (
            f"The busiest expert of {names[worst.layer_id]} carries {measure.text(worst.estimate)} "
            f"the balanced load{span and f' ({span})'}; {dead_text}."
        )
    return (
        f"{names.first(worst.layer_id)} is the least even: its busiest expert carries "
        f"{measure.text(worst.estimate)} the balanced load{span and f' ({span})'}, against "
        f"{measure.text(best.estimate)} in {names[best.layer_id]}. Over all layers, {dead_text}."
    )


def heatmap_note(cells: pd.DataFrame, *, crowded: bool = False, tested: bool = True) -> str:
    """How to read the heatmap of an expert_load_table, and how many experts were tested at once."""
    choices = cells.groupby("layer_id").n_tokens.sum().max()
    dead, undecided = ("In the colour of text", "Grey") if crowded else ("Cross", "Hatched")
    zoom = ZOOM if crowded else ""
    if not tested:
        return (
            f"{choices:,} choices per layer. Orange: above the balanced load, blue: below. {dead}: "
            f"not chosen. Click a cell to open the expert's card.{zoom}"
        )
    return (
        f"{choices:,} choices per layer. Orange: above the balanced load, blue: below. "
        f"{sure_mark(crowded=crowded)}: q < {MAX_Q} ({family_size(cells):,} experts tested at "
        f"once, Benjamini-Hochberg). {dead}: not chosen; such experts are called dead where a "
        f"balanced router would leave out at most {MAX_Q:.0%} as many. Tokens of a text resemble "
        "one another, so chance leaves out more than a balanced router does. "
        f"{undecided}: {NOT_ENOUGH}. That an expert is idle is harder to establish than that it is "
        "busy: the texts that need it may be missing. The figure does not show why. Click a cell "
        f"to open the expert's card.{zoom}"
    )


def counted_note(cells: pd.DataFrame) -> str:
    """The same of a trace of counts, which are no sample of texts."""
    choices = cells.groupby("layer_id").n_tokens.sum().max()
    return (
        f"{choices:,} choices per layer, as counted. Orange: above the balanced load, blue: below. "
        f"Dot: q < {MAX_Q}, where there are enough passes to test. Cross: not chosen."
    )


def _extremes(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    rows = table[table.metric == "load_imbalance"].dropna(subset="estimate")
    return rows.iloc[int(rows.estimate.argmax())], rows.iloc[int(rows.estimate.argmin())]
