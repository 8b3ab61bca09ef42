"""Which experts prefer which domains, layer by layer. E = routed experts, G = domains."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from analysis import significance
from analysis.specialization import information_share
from app import evidence, stored
from app.studies import ablation
from app.summary_kinds import LIFTS
from app.trace import Trace
from app.views.shared import layer_chooser
from app.views.shared.heatmap import crowded
from app.views.shared.intervals import layer_intervals
from app.views.shared.layer_chooser import LayerFigure
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel, of_layers
from app.views.shared.theme import Palette
from app.views.specialization import specialists
from app.views.specialization.figures import domain_order, lift_grid, lift_heatmap

METHOD = (
    "domain_lift",
    "lift_table",
    "replication",
    "jensen_shannon",
    "information_share",
    "domain_token_share",
    "domain_choice_share",
    "esft_document_score",
    "normalized_over_experts",
    "normalized_over_layers",
    "selected_experts",
)
COMPARED = ("domain specialization", "gate score", "normalization", "selection")


def panels(
    trace: Trace,
    palette: Palette,
    *,
    layer_id: int = 0,
    by_domain: bool = True,
    expert_id: int = 0,
    only_sure: bool = False,
    metric: str = evidence.DOMAIN_METRICS[0],
    chosen: Collection[str] = (),
) -> list[Panel]:
    """None where there are no domains to compare; the heatmap frames an expert and the chosen
    domains, whose specialists alone are listed."""
    if not evidence.compares_domains(trace):
        return []
    order_E = _expert_order(trace, layer_id=layer_id, by_domain=by_domain)
    return [
        _lifts(
            trace,
            palette,
            layer_id=layer_id,
            order_E=order_E,
            marked=expert_id,
            chosen=chosen,
            only_sure=only_sure,
        ),
        *_specialists(trace, chosen),
        _by_layer(trace, palette, metric=metric, marked=layer_id),
    ]


def layer_figure(trace: Trace) -> LayerFigure | None:
    """What the chosen expert tells about the domain, by layer; None where nothing is compared."""
    if not evidence.compares_domains(trace):
        return None
    return layer_chooser.of_metric(evidence.metrics(trace), information_share.__name__)


def replication_panels(trace: Trace) -> list[Panel]:
    """Whether the specialists reappear in other texts: it takes the longest, and there is none
    while it is still being computed."""
    table = evidence.replication_table(trace)
    if table is None:
        return []
    return [Panel(name="replication", table=table, note=specialists.replication_note(table))]


def _expert_order(trace: Trace, *, layer_id: int, by_domain: bool) -> np.ndarray:
    """Expert ids as the heatmap has them, from the left [E]."""
    if not by_domain:
        return np.arange(trace.info.layers[layer_id].num_experts)
    return domain_order(np.exp2(lift_grid(layer_lifts(trace, layer_id), "estimate", trace.domains)))


def layer_lifts(trace: Trace, layer_id: int) -> pd.DataFrame:
    """The rows of one layer of the lift_table."""
    lifts = evidence.lifts(trace)
    return lifts[lifts.layer_id == layer_id].reset_index(drop=True)


def _lifts(
    trace: Trace,
    palette: Palette,
    *,
    layer_id: int,
    order_E: np.ndarray,
    marked: int,
    chosen: Collection[str],
    only_sure: bool,
) -> Panel:
    many = crowded(len(trace.domains), len(order_E))
    lifts, rows = evidence.lifts(trace), layer_lifts(trace, layer_id)
    return Panel(
        name="expert_domain_lift",
        table=lifts[[*evidence.LIFT_COLUMNS]],
        answer=specialists.layer_answer(
            rows, evidence.metrics(trace), layer_id=layer_id, names=names_of(trace)
        ),
        figure=lift_heatmap(
            rows,
            palette,
            domains=trace.domains,
            order_E=order_E,
            marked=marked,
            chosen=chosen,
            only_sure=only_sure,
        ),
        alt=f"Heatmap: lift of every domain for every expert of {names_of(trace)[layer_id]}",
        names=lambda x, y: {"layer_id": layer_id, "expert_id": order_E[int(x)]},
        note=" ".join(
            [
                specialists.heatmap_note(
                    lifts, crowded=many, tested=stored.is_complete(trace, LIFTS)
                ),
                specialists.NOT_WHY,
                specialists.power_note(rows),
            ]
        ).strip(),
    )


def _specialists(trace: Trace, chosen: Collection[str]) -> list[Panel]:
    """Empty where no expert is one."""
    causes = stored.causes(trace)
    table = ablation.with_verdicts(significance.specialists(evidence.lifts(trace)), causes)
    if chosen:
        table = table[table.domain.isin(chosen)].reset_index(drop=True)
    if table.empty:
        return []
    note = specialists.causes_note(table, causes)
    return [specialists.specialists_panel(table, note=note, domains=chosen)]


def _by_layer(trace: Trace, palette: Palette, *, metric: str, marked: int) -> Panel:
    metrics = evidence.metrics(trace)
    table = evidence.specialization_metrics(metrics)
    rows = table[table.metric == metric].drop(columns="metric")
    return Panel(
        name="specialization_by_layer",
        table=rows,
        figure=layer_intervals(
            metrics,
            palette,
            metric=metric,
            null="shuffled labels",
            marked=marked,
            names=names_of(trace),
        ),
        alt=f"{metric} by layer, with intervals",
        names=of_layers,
        note=evidence.READING
        + " Tick: the value with domain labels shuffled over groups of texts.",
        preview=rows,
    )
