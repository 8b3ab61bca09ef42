"""Which domains an expert is chosen for, more or less often than chance.

L = MoE layers, E = routed experts, G = domains.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.figures.heatmap import RATIOS, cell_heatmap, ratio_axis
from app.figures.theme import Palette, column_text, domain_colors, frame, literal

LIMIT = 2  # log2: from a quarter to four times
REACH = 3  # log2: bars end at an eighth and eight times


def domain_order(lift_EG: np.ndarray) -> np.ndarray:
    """Experts grouped by their strongest domain, the strongest first; dead ones last."""
    known_EG = np.nan_to_num(lift_EG, nan=-np.inf)
    strongest_E, best_E = known_EG.argmax(-1), known_EG.max(-1)
    return np.lexsort((-best_E, strongest_E, np.isinf(best_E)))


def lift_heatmap(
    lift_EG: np.ndarray,
    tokens_EG: np.ndarray,
    palette: Palette,
    *,
    domains: Sequence[str],
    order_E: np.ndarray,
    marked: int,
) -> go.Figure:
    """Domains by experts, colour = log2 lift; the marked expert is framed."""
    with np.errstate(divide="ignore"):
        log_EG = np.log2(lift_EG)
    hover = [
        [
            f"expert {expert}, {literal(domain)}<br><b>{lift_EG[expert, g]:.2f}×</b> its share by "
            f"chance<br>{tokens_EG[expert, g]:,} choices"
            for expert in order_E
        ]
        for g, domain in enumerate(domains)
    ]
    figure = cell_heatmap(
        np.clip(log_EG, -LIMIT - 1, LIMIT + 1)[order_E].T,
        palette,
        rows=[literal(domain) for domain in domains],
        columns=[str(expert) for expert in order_E],
        hover_RC=np.array(hover),
        coloraxis=ratio_axis(palette, limit=LIMIT, title="lift"),
        height=44 * len(domains) + 90,
    )
    place = int(np.flatnonzero(order_E == marked)[0])
    figure.add_shape(
        type="rect",
        x0=place - 0.5,
        x1=place + 0.5,
        y0=-0.5,
        y1=len(domains) - 0.5,
        line={"color": palette.text, "width": 2},
    )
    figure.update_xaxes(title_text="expert", tickfont={"size": 10}, tickangle=0)
    return figure


def lift_bars(lift_G: np.ndarray, domains: Sequence[str], palette: Palette) -> go.Figure:
    """One expert's lift by domain, to both sides of chance; the numbers in a column."""
    colors = domain_colors(domains, palette)
    rows = list(range(len(domains)))
    figure = go.Figure(
        go.Bar(
            x=np.log2(np.clip(lift_G, 2.0**-REACH, 2.0**REACH)),
            y=rows,
            orientation="h",
            marker={"color": [colors[domain] for domain in domains]},
            hoverinfo="skip",
        )
    )
    frame(figure, palette, height=34 * len(domains) + 60)
    figure.update_layout(margin={"r": 58}, bargap=0.32)
    ticks = [-REACH + 1, 0, REACH - 1]
    figure.update_xaxes(
        range=[-REACH, REACH],
        tickvals=ticks,
        ticktext=[RATIOS[tick] for tick in ticks],
        zeroline=True,
        zerolinecolor=palette.muted,
    )
    figure.update_yaxes(
        tickvals=rows,
        ticktext=[literal(name) for name in domains],
        autorange="reversed",
        showgrid=False,
    )
    for row in rows:
        column_text(figure, row, f"{lift_G[row]:.2f}×", place=56)
    return figure


def information_lines(table: pd.DataFrame, palette: Palette, *, marked: int) -> go.Figure:
    """Share of the domain's entropy that the choice of one expert tells, by layer."""
    colors = [palette.accent if row == marked else palette.neutral for row in table.layer_id]
    figure = go.Figure(
        go.Bar(
            x=table.layer_id,
            y=table.information_share,
            marker={"color": colors},
            text=[f"{share:.1%}" for share in table.information_share],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
        )
    )
    frame(figure, palette, height=230)
    figure.update_xaxes(title_text="MoE layer", dtick=1, showgrid=False)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure
