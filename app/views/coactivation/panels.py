"""Which experts are chosen together, and which follow one another. E = routed experts."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.pair_table import Null
from app import stored
from app.trace import Trace
from app.views.coactivation import pair_tests, transitions
from app.views.coactivation.figures import (
    AT_ONCE,
    BUSIEST,
    busiest,
    cluster_order,
    follow_order,
    log_lift,
    pair_heatmap,
    transition_cells,
    transition_heatmap,
)
from app.views.shared import controls
from app.views.shared.heatmap import crowded
from app.views.shared.intervals import Measure
from app.views.shared.layer_chooser import LayerFigure
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

METHOD = (
    "pair_significance",
    "coactivation_lift",
    "corrected_coactivation_lift",
    "coactivation_rate",
    "adjacent_coactivation_rate",
    "pairs_beyond_loads",
    "transition_lift",
    "transition_significance",
)
PAIRS_BEYOND_LOADS = Measure("pairs that loads do not explain", ".1%")
COMPARED = ("co-activation",)


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a heatmap is drawn, and in which order."""

    only_busiest: bool
    by_coactivation: bool  # else by number
    only_sure: bool
    marked: int | None  # the expert whose pairs come first


def panels(
    trace: Trace,
    palette: Palette,
    *,
    layer_id: int = 0,
    with_next: bool = False,
    null: Null = "load",
    by_coactivation: bool = True,
    only_busiest: bool = False,
    only_sure: bool = False,
    expert_id: int | None = None,
) -> list[Panel]:
    """The pairs of a layer, or its transitions to the next; empty where there are none. Those of
    an expert come first, and are framed."""
    shown = Shown(only_busiest, by_coactivation, only_sure, expert_id)
    if with_next:
        return _transitions(trace, palette, shown, layer_id=layer_id)
    return _pairs(trace, palette, shown, layer_id=layer_id, null=null)


def layer_figure(trace: Trace) -> LayerFigure | None:
    """How far the pairs of every layer are from what loads explain; None where few layers are
    chosen from without it."""
    if trace.info.num_layers <= controls.MOST_BUTTONS:
        return None
    return LayerFigure(PAIRS_BEYOND_LOADS, pair_tests.beyond_loads(trace))


def is_large(trace: Trace, layer_id: int) -> bool:
    """It has more experts than a heatmap has cells that can be told apart."""
    return trace.info.layers[layer_id].num_experts > BUSIEST


def shows_few_first(trace: Trace, layer_id: int) -> bool:
    """Whether the heatmap of all its experts would take seconds to draw."""
    return trace.info.layers[layer_id].num_experts > AT_ONCE


def shown_experts(trace: Trace, layer_id: int, *, only_busiest: bool) -> tuple[int, int]:
    """Rows and columns of the heatmap of pairs."""
    num_experts = trace.info.layers[layer_id].num_experts
    shown = min(num_experts, BUSIEST) if only_busiest else num_experts
    return shown, shown


def _pairs(
    trace: Trace, palette: Palette, shown: Shown, *, layer_id: int, null: Null
) -> list[Panel]:
    pairs = pair_tests.layer_pairs(trace, layer_id)
    if pairs.reason:
        return []
    layer, num_experts = names_of(trace)[layer_id], trace.info.layers[layer_id].num_experts
    log_EE = log_lift(pairs.tests, num_experts, null=null)
    order_S = _experts(trace, layer_id, shown)
    if shown.by_coactivation:
        order_S = order_S[cluster_order(log_EE[np.ix_(order_S, order_S)])]
    table = pair_tests.layer_table(trace, layer_id, null=null)
    return [
        Panel(
            name="expert_pairs",
            table=table,
            answer=pair_tests.pairs_answer(pairs, layer=layer, null=null),
            figure=pair_heatmap(
                pairs.tests,
                palette,
                log_EE=log_EE,
                order_S=order_S,
                null=null,
                only_sure=shown.only_sure,
                marked=shown.marked,
            ),
            alt=(
                f"Heatmap: how often each pair of experts of {layer} is chosen together, "
                "relative to chance"
            ),
            names=lambda x, y: {
                "layer_id": layer_id,
                "expert_a": order_S[int(y)],
                "expert_b": order_S[int(x)],
            },
            note=pair_tests.heatmap_note(
                trace, pairs, null=null, shown=len(order_S), num_experts=num_experts
            ),
            preview=_first(table, shown.marked),
        )
    ]


def _first(table: pd.DataFrame, expert_id: int | None) -> pd.DataFrame:
    """With the pairs of an expert first."""
    own = (table.expert_a == expert_id) | (table.expert_b == expert_id)
    return pd.concat([table[own], table[~own]], ignore_index=True)


def _transitions(trace: Trace, palette: Palette, shown: Shown, *, layer_id: int) -> list[Panel]:
    if transitions.no_transitions_note(trace, layer_id):
        return []
    tests, names = transitions.layer_transitions(trace, layer_id).tests, names_of(trace)
    here, following = names[layer_id], names[layer_id + 1]
    rows, columns = (_experts(trace, layer, shown) for layer in (layer_id, layer_id + 1))
    if shown.by_coactivation:
        rows, columns = follow_order(transition_cells(tests, tests.lift), rows, columns)
    return [
        Panel(
            name="expert_transitions",
            table=transitions.layer_table(trace, layer_id),
            title=transitions.TITLE,
            figure=transition_heatmap(
                tests,
                palette,
                rows=rows,
                columns=columns,
                layers=(here, following),
                only_sure=shown.only_sure,
            ),
            alt=f"Heatmap: which experts of {following} follow those of {here}",
            names=lambda x, y: {
                "layer_id": layer_id,
                "expert_id": rows[int(y)],
                "next_expert_id": columns[int(x)],
            },
            note=transitions.heatmap_note(
                trace,
                transitions.layer_transitions(trace, layer_id),
                crowded=crowded(len(rows), len(columns)),
            ),
        )
    ]


def _experts(trace: Trace, layer_id: int, shown: Shown) -> np.ndarray:
    """Those of a layer that are drawn, by number."""
    num_experts = trace.info.layers[layer_id].num_experts
    tokens_E = stored.expert_tokens(trace)[layer_id, :num_experts]
    return busiest(tokens_E) if shown.only_busiest else np.arange(num_experts)
