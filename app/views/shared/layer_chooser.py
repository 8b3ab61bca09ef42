"""The MoE layer that a page is about: one of a few, or a slider below a bar of every layer.

L = MoE layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis import load
from app import stored
from app.trace import BY_IDENTITY, Trace
from app.views.shared import controls, selecting
from app.views.shared.intervals import MEASURES, Measure
from app.views.shared.layer_names import NUMBERED, LayerNames, names_of
from app.views.shared.theme import Palette, frame

WIDTH, HEIGHT, ABOVE = 400, 70, 18  # pixels of the bars, and of those between them and the slider
END = 6  # pixels from either end of the slider to its first and its last place
BARS, RUN_LAYER = "layer_bars", "run_layer"


@dataclass(frozen=True, slots=True)
class LayerFigure:
    """A number of every layer that tells which to look at."""

    measure: Measure
    values_L: Sequence[float]  # NaN: the layer has none


def layer_of(trace: Trace, figure: LayerFigure | None = None, *, of_run: bool = False) -> int:
    """The layer that is selected; a run, no part of the selected trace, has one of its own. Bars
    show how busy the busiest expert is, unless the page has a figure of its own."""
    names, num_layers = names_of(trace), trace.info.num_layers
    kept: dict[str, Any] = {"key": RUN_LAYER, "bind": "query-params"}
    if not of_run:
        selecting.show("layer", min(selecting.layer_id(), num_layers - 1))
        kept = {"key": "layer", "on_change": selecting.on_change("layer", _choose)}
    if num_layers <= controls.MOST_BUTTONS:
        return controls.layer(num_layers, names, **kept)
    with st.container(width=WIDTH, gap=None):
        bars, slider = st.container(), st.container()
        with slider:
            chosen = controls.layer(num_layers, names, labelled=False, **kept)
        with bars:
            figure = figure or busiest_expert(trace)
            st.caption(f"MoE layer  ·  bars: {figure.measure.title}")
            controls.chart(
                layer_bars(figure, controls.palette(), chosen=chosen, names=names),
                alt=f"Bars: {figure.measure.title} of every MoE layer",
                key=BARS,
                on_select=partial(_choose_bar, of_run),
            )
    return chosen


def of_metric(table: pd.DataFrame, metric: str) -> LayerFigure:
    """A metric of a metric_table, as counted."""
    rows = table[table.metric == metric].sort_values("layer_id")
    return LayerFigure(MEASURES[metric], rows.estimate.astype(float).tolist())


def busiest_expert(trace: Trace) -> LayerFigure:
    return LayerFigure(MEASURES[load.load_imbalance.__name__], _load_imbalance(trace))


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def _load_imbalance(trace: Trace) -> list[float]:
    return [
        float(load.load_imbalance(tokens_E)) if tokens_E.any() else float("nan")
        for tokens_E in stored.expert_tokens(trace)
    ]


def layer_bars(
    figure: LayerFigure, palette: Palette, *, chosen: int, names: LayerNames = NUMBERED
) -> go.Figure:
    """A bar a layer above its place on the slider, from the least to the most there is; the chosen
    one in colour. All of the height above a layer can be clicked."""
    values = pd.Series(figure.values_L, dtype=float)
    low, high = values.min(), values.max()
    part = (values - low) / (high - low) if high > low else values * 0 + 1
    layers = list(range(len(values)))
    hover = [_text(names.hover(layer), figure.measure.text(values[layer])) for layer in layers]

    step = (WIDTH - 2 * END) / max(len(layers) - 1, 1)  # pixels from layer to layer
    thin = min(0.8, 2 * END / step)

    def bars(heights: Any, colors: Any, widths: Any) -> go.Bar:
        return go.Bar(
            x=layers,
            y=heights,
            width=widths,
            marker={"color": colors, "line": {"width": 0}},
            unselected={"marker": {"opacity": 1}},
            hovertext=hover,
            hovertemplate="%{hovertext}<extra></extra>",
        )

    ground = [palette.grid if layer == chosen else "rgba(0,0,0,0)" for layer in layers]
    colors = [palette.accent if layer == chosen else palette.neutral for layer in layers]
    behind = bars(
        [1.08] * len(layers), ground, [thin if layer == chosen else 1 for layer in layers]
    )
    drawn = go.Figure([behind, bars(0.08 + part.fillna(-0.08), colors, thin)])
    frame(drawn, palette, height=HEIGHT)
    drawn.update_layout(
        barmode="overlay", margin={"l": 0, "r": 0, "t": 2, "b": ABOVE}, hovermode="closest"
    )
    ends = [-END / step, len(layers) - 1 + END / step]
    drawn.update_xaxes(visible=False, fixedrange=True, range=ends)
    return drawn.update_yaxes(visible=False, fixedrange=True, range=[0, 1.08])


def _text(layer: str, value: str) -> str:
    return f"{layer}: <b>{value}</b>" if value else f"{layer}: not known"


def _choose(layer_id: int | None) -> None:
    selecting.select_layer(layer_id or 0)


def _choose_bar(of_run: bool) -> None:
    points = st.session_state[BARS].selection.points
    if not points:
        return
    layer_id = int(points[0]["x"])
    if of_run:
        st.session_state[RUN_LAYER] = layer_id
    else:
        selecting.select_layer(layer_id)
