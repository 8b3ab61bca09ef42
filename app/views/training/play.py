"""One layer's experts against the domains, snapshot by snapshot: a figure that plays.

E = routed experts, G = domains.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.specialization import TOO_FEW, label_names
from app.views.shared.heatmap import ratio_axis
from app.views.shared.theme import Palette, domain_colors, frame, literal
from app.views.specialization.figures import LIMIT

PACE = 700  # milliseconds a snapshot
ROOM = 0.25  # rows between the domains and the strip


def lift_play(
    lifts: Sequence[np.ndarray],
    belongs: Sequence[np.ndarray],
    palette: Palette,
    *,
    labels: Sequence[str],
    domains: Sequence[str],
    order_E: np.ndarray,
) -> go.Figure:
    """lift_EG and domain_E of every snapshot; it opens at the last. Colour = log2 lift; the strip
    below has the colour of the domain that an expert prefers."""
    frames = [
        go.Frame(name=label, data=_data(lift_EG, domain_E, palette, domains, order_E))
        for label, lift_EG, domain_E in zip(labels, lifts, belongs, strict=True)
    ]
    figure = go.Figure(data=frames[-1].data, frames=frames)
    frame(figure, palette, height=40 * (len(domains) + 1) + 170)
    figure.update_layout(
        coloraxis=ratio_axis(palette, limit=LIMIT, title="lift"),
        updatemenus=[_buttons(palette)],
        sliders=[_slider(labels, palette)],
        margin={"b": 8, "t": 10},
    )
    figure.update_xaxes(
        type="category", title_text="expert", tickfont={"size": 10}, tickangle=0, showgrid=False
    )
    figure.update_xaxes(fixedrange=True, nticks=40)
    return figure.update_yaxes(
        range=[len(domains) + ROOM + 0.5, -0.5],
        tickvals=[*range(len(domains)), len(domains) + ROOM],
        ticktext=[*map(literal, domains), "prefers"],
        showgrid=False,
        fixedrange=True,
    )


def _data(
    lift_EG: np.ndarray,
    domain_E: np.ndarray,
    palette: Palette,
    domains: Sequence[str],
    order_E: np.ndarray,
) -> list[go.Heatmap]:
    experts = [str(expert) for expert in order_E]
    names = [*map(literal, domains)]
    lift_GE = lift_EG[order_E].T
    with np.errstate(divide="ignore"):
        log_GE = np.clip(np.log2(lift_GE), -LIMIT - 1, LIMIT + 1)
    own_E = domain_E[order_E]
    known = domain_colors(domains, palette)
    gap = 1 if lift_GE.size <= 1000 else 0
    return [
        go.Heatmap(
            x=experts,
            y=np.arange(len(names)),
            z=log_GE.astype(np.float32),
            customdata=lift_GE.round(2).astype(np.float32),
            coloraxis="coloraxis",
            xgap=gap,
            ygap=1,
            hovertemplate="expert %{x}, %{y}: lift %{customdata:.2f}×<extra></extra>",
        ),
        go.Heatmap(
            x=experts,
            y0=len(names) + ROOM,
            dy=1,
            z=own_E[None].astype(np.int16),
            zmin=TOO_FEW - 0.5,
            zmax=len(domains) - 0.5,
            colorscale=_steps(
                [palette.grid, palette.neutral, *(known[domain] for domain in domains)]
            ),
            showscale=False,
            xgap=gap,
            ygap=4,
            text=[[label_names(names)[label] for label in own_E]],
            hovertemplate="expert %{x} prefers: %{text}<extra></extra>",
        ),
    ]


def _steps(colors: Sequence[str]) -> list[list[float | str]]:
    """A colour scale without transitions."""
    edges = np.linspace(0, 1, len(colors) + 1).tolist()
    return [
        [edge, color]
        for color, low, high in zip(colors, edges, edges[1:], strict=False)
        for edge in (low, high)
    ]


def _buttons(palette: Palette) -> dict:
    play = {
        "frame": {"duration": PACE, "redraw": True},
        "transition": {"duration": 0},
        "fromcurrent": True,
    }
    stop = {
        "frame": {"duration": 0, "redraw": False},
        "transition": {"duration": 0},
        "mode": "immediate",
    }
    return {
        "type": "buttons",
        "direction": "left",
        "showactive": False,
        "x": 0,
        "xanchor": "right",
        "y": 0,
        "yanchor": "top",
        "pad": {"t": 52, "r": 14},
        "bgcolor": palette.ground,
        "bordercolor": palette.neutral,
        "font": {"color": palette.accent, "size": 14},
        "buttons": [
            {"label": "▶", "method": "animate", "args": [None, play]},
            {"label": "❚❚", "method": "animate", "args": [[None], stop]},
        ],
    }


def _slider(labels: Sequence[str], palette: Palette) -> dict:
    jump = {
        "frame": {"duration": 0, "redraw": True},
        "transition": {"duration": 0},
        "mode": "immediate",
    }
    return {
        "active": len(labels) - 1,
        "x": 0,
        "len": 1,
        "pad": {"t": 44, "b": 0},
        "currentvalue": {"prefix": "", "font": {"color": palette.text, "size": 14}},
        "bgcolor": palette.neutral,
        "bordercolor": palette.neutral,
        "activebgcolor": palette.accent,
        "tickcolor": palette.muted,
        "font": {"color": "rgba(0,0,0,0)", "size": 11},  # only the current one is named
        "steps": [
            {"label": label, "method": "animate", "args": [[label], jump]} for label in labels
        ],
    }
