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
        "found. 0: two experts on average, 1: an expert and itself. Best possible: the pairs that "
        "these very texts would find for themselves."
    ),
    "quantize": (
        "The choices that each group of experts gets in texts by which it was not made. Chance: "
        "its part of all experts."
    ),
}


def map_note(found: ExpertList) -> str:
    kind, many = found.settings.kind, crowded(*found.value_LE.shape)
    if not many:
        return READING[kind]
    return READING[kind].split(" Dot: ")[0] + " The list is in the table." + ZOOM


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
    if pd.isna(row.sure):
        return ["the layer has no choices"]
    on = "on the list" if row.listed else "not on the list"
    sure = f"<b>{on}</b>, on {row.sure:.0%} of lists of other texts"
    return [sure, f"{row.share:.2%} of the layer"]


def _covered(row: Any) -> list[str]:
    lines = [f"<b>{row.tokens:,} tokens</b> in {row.n_groups:,} groups of texts: {row.group}"]
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
