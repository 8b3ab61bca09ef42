"""What the map of a list says of an expert, and how its colours and bars are read.

L = MoE layers, E = routed experts.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from app.studies.expert_lists.subject import ExpertList
from app.views.shared.heatmap import ZOOM, crowded
from app.views.shared.intervals import probability
from app.views.shared.layer_names import LayerNames
from data.words import counted

READING = {
    "prune": (
        "Colour: the share of 200 lists, each of other texts drawn from these, that an expert is "
        "on. Dot: on the list of all texts."
    ),
    "tune": (
        "Colour: the share of 200 lists, each of other texts of the domain drawn from these, that "
        "an expert is on. Dot: on the list of all its texts."
    ),
    "merge": (
        "Colour: how close the closest other expert of the layer is, by the words that choose "
        "them: 0 as close as two experts are on average, 1 as close as an expert is to itself in "
        "other texts. Dot: in a pair of the list."
    ),
    "quantize": (
        "Colour: tokens over the number needed, blue has too few. Dot: rare, with fewer than "
        "needed. A busy expert has twice the balanced load or more."
    ),
    "watch": (
        "Colour: the share of the later texts over that of the earlier ones. Dot: drifted, "
        "q < 0.05 over all experts: where nothing drifts, any dot at all comes in at most 5 % of "
        "such lists."
    ),
}
MEASURED = {
    "prune": (
        "Every half of the groups of texts is measured with the list that the other half made. "
        "Chance: a random list of that size. Best possible: the list that these very texts would "
        "make for themselves."
    ),
    "tune": (
        "Each half of the domain's groups of texts is measured with the list that the other half "
        "made, and so are all other texts. Chance: a random list of that size. Best possible: the "
        "list that these very texts would make for themselves."
    ),
    "merge": (
        "By layer: the mean closeness, in one half of the texts, of the pairs that the other half "
        "found. 0: two experts on average, 1: an expert and itself. Best possible: as many "
        "pairs that these very texts find for themselves, the closest first."
    ),
    "quantize": (
        "The choices that each group of experts gets in texts by which it was not made. Chance: "
        "its part of all experts."
    ),
}


IN_ITS_OWN = (
    "Measured in the very group of texts that made the list, for there is no other. Chance: a "
    "random list of that size."
)
NOT_SURE = "Colour: on the list or not. How surely takes more groups of texts. Dot: on the list."


def map_note(found: ExpertList) -> str:
    reading = READING[found.settings.kind]
    if "sure" in found.experts and found.experts.sure.isna().all():
        reading = NOT_SURE if found.settings.kind in ("prune", "tune") else reading
    if not crowded(*found.value_LE.shape):
        return reading
    return reading.split(" Dot: ")[0] + " The list is in the table." + ZOOM


def hover_texts(found: ExpertList, names: LayerNames) -> np.ndarray:
    """Of each place of the map; empty where there is no expert."""
    hover_LE = np.full(found.value_LE.shape, "", dtype=object)
    if found.settings.kind == "merge":
        return _pair_texts(found, names, hover_LE)
    said = LINES[found.settings.kind]
    rows: Iterator[Any] = found.experts.itertuples()
    for row in rows:
        lines = [f"{names.hover(row.layer_id)}, expert {row.expert_id}", *said(row)]
        hover_LE[row.layer_id, row.expert_id] = "<br>".join(lines)
    return hover_LE


def _pair_texts(found: ExpertList, names: LayerNames, hover_LE: np.ndarray) -> np.ndarray:
    for layer_id, expert_id in np.argwhere(~np.isnan(found.value_LE)).tolist():
        hover_LE[layer_id, expert_id] = (
            f"{names.hover(layer_id)}, expert {expert_id}<br>the closest other expert: "
            f"<b>{found.value_LE[layer_id, expert_id]:.2f}</b>"
        )
    rows: Iterator[Any] = found.experts.itertuples()
    for row in rows:
        said = f"<br>pair {row.expert_a} and {row.expert_b}: <b>{row.closeness:.2f}</b>"
        if pd.notna(row.sure):
            said += f", on {row.sure:.0%} of the lists of halves"
        for expert_id in (row.expert_a, row.expert_b):
            hover_LE[row.layer_id, expert_id] += said
    return hover_LE


def _listed(row: Any) -> list[str]:
    on = "<b>on the list</b>" if row.listed else "<b>not on the list</b>"
    if pd.notna(row.sure):
        on += f", on {row.sure:.0%} of lists of other texts"
    return [on, f"{row.share:.2%} of the layer"]


def _covered(row: Any) -> list[str]:
    tokens = counted(row.tokens, "token", "tokens")
    groups = counted(row.n_groups, "group", "groups")
    lines = [f"<b>{tokens}</b> in {groups} of texts: {row.group}"]
    if pd.notna(row.times):
        ends = (row.times_low, row.times_high)
        span = "" if any(pd.isna(end) for end in ends) else f" ({ends[0]:.1f} to {ends[1]:.1f})"
        lines.append(f"enough in {row.times:.1f} times as much text{span}")
    return [*lines, f"<i>{row.note}</i>"] if row.note else lines


def _watched(row: Any) -> list[str]:
    lines = [f"<b>{row.earlier:.2%}</b> earlier, <b>{row.later:.2%}</b> later"]
    if pd.notna(row.p):
        lines.append(f"p {probability(row.p)}, q {probability(row.q)}")
    if pd.notna(row.lower_alarm):
        lines.append(f"alarm below {row.lower_alarm:.2%}, above {row.upper_alarm:.2%}")
    return [*lines, f"<i>{row.note}</i>"] if row.note else lines


LINES = {"prune": _listed, "tune": _listed, "quantize": _covered, "watch": _watched}
