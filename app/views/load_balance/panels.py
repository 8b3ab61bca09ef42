"""How evenly the experts of a trace are used. L = MoE layers, E = routed experts."""

from functools import partial

import numpy as np
import streamlit as st

from analysis.domain_counts import ALL_LAYERS
from app import evidence, stored
from app.summary_kinds import LOADS, METRICS
from app.trace import BY_IDENTITY, Trace
from app.views.load_balance import dropped_choices, experts_per_token, summary
from app.views.load_balance.figures import load_heatmap, load_order
from app.views.shared.heatmap import crowded
from app.views.shared.intervals import layer_intervals
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel, of_experts, of_layers
from app.views.shared.theme import Palette

METHOD = (
    "expert_load_table",
    "load_imbalance",
    "max_violation",
    "gini",
    "busiest_share",
    "dead_experts",
    "dropped_share",
    "mean_k_table",
    "k_histogram",
    "balancedness_of_sums",
    "mean_balancedness",
    "pooled_load_balance_loss",
    "over_represented",
)
COMPARED = ("balancedness", "MaxVio", "load-balance loss")


def headline(trace: Trace, domain: str | None = None) -> list[tuple[str, str, str]]:
    metrics = evidence.metrics(trace, domain)
    return [
        summary.busiest(metrics, names_of(trace)),
        summary.mean(metrics, "max_violation", "Mean MaxVio", "balanced"),
        summary.mean(metrics, "gini", "Mean Gini", "balanced"),
        summary.mean(metrics, "busiest_share", "Load of the three busiest", "balanced"),
        summary.dead(evidence.absence(trace, domain)),
    ]


def panels(
    trace: Trace,
    palette: Palette,
    *,
    domain: str | None = None,
    by_load: bool = False,
    only_sure: bool = False,
    metric: str = evidence.LOAD_METRICS[0],
    k_layer: int = ALL_LAYERS,
) -> list[Panel]:
    """Of all texts or of one domain's; the number of experts per token always of all."""
    tokens_LE = _tokens(trace, domain)
    order_LE = load_order(tokens_LE, by_load=by_load)
    return [
        _loads(
            trace,
            palette,
            stored.sources(trace, LOADS, METRICS),
            domain=domain,
            by_load=by_load,
            only_sure=only_sure,
        ),
        *dropped_choices.panels(trace, palette, tokens_LE, order_LE=order_LE, domain=domain),
        _by_layer(trace, palette, domain=domain, metric=metric),
        *experts_per_token.panels(trace, palette, layer_id=k_layer),
    ]


def every_domain_panel(trace: Trace, *, metric: str = evidence.LOAD_METRICS[0]) -> Panel:
    """The load metrics of every domain: a resampling for each, so only when asked for."""
    table = evidence.domain_metrics(trace)
    return Panel(
        name="load_by_layer_and_domain", table=table, preview=table[table.metric == metric]
    )


def _tokens(trace: Trace, domain: str | None) -> np.ndarray:
    return stored.expert_tokens(trace, domain)


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def _loads(
    trace: Trace,
    palette: Palette,
    sources: tuple[str, ...],
    *,
    domain: str | None,
    by_load: bool,
    only_sure: bool,
) -> Panel:
    """Kept: a text for every cell of a large trace takes half a second."""
    metrics, cells = evidence.metrics(trace, domain), evidence.expert_loads(trace, domain)
    names, tokens_LE = names_of(trace), _tokens(trace, domain)
    return Panel(
        name="expert_load",
        table=cells[[*evidence.LOAD_COLUMNS]],
        answer=summary.load_answer(metrics, evidence.absence(trace, domain), names),
        figure=load_heatmap(
            tokens_LE,
            cells,
            palette,
            order_LE=load_order(tokens_LE, by_load=by_load),
            by_load=by_load,
            only_sure=only_sure,
            counted=trace.info.counts_only,
            names=names,
        ),
        alt="Heatmap: load of every expert in every layer, relative to a balanced load",
        names=partial(of_experts, load_order(tokens_LE, by_load=by_load)),
        note=summary.counted_note(cells)
        if trace.info.counts_only
        else summary.heatmap_note(
            cells,
            crowded=crowded(*tokens_LE.shape),
            tested=stored.is_complete(trace, LOADS),
        ),
    )


def _by_layer(trace: Trace, palette: Palette, *, domain: str | None, metric: str) -> Panel:
    table = evidence.load_metrics(evidence.metrics(trace, domain))
    return Panel(
        name="load_by_layer",
        table=table,
        figure=layer_intervals(
            table, palette, metric=metric, null="balanced", names=names_of(trace)
        ),
        alt=f"{metric} by layer, with intervals",
        names=of_layers,
        note=evidence.READING + " Tick: the value if every expert had the same load.",
        preview=table[table.metric == metric].drop(columns="metric"),
    )
