"""A map of points as a plain figure, to stand beside that of another trace."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.views.shared.theme import Palette, domain_colors, frame, label


def domain_map(points: pd.DataFrame, hover: Sequence[str], palette: Palette) -> go.Figure:
    """Drawn as SVG: WebGL of Plotly needs `eval`, which no page may use."""
    names = list(points.domain.unique())
    colors = domain_colors(names, palette)
    figure = go.Figure()
    for name in sorted(names, key=list(colors).index):
        here = (points.domain == name).to_numpy()
        figure.add_scatter(
            x=points.x[here],
            y=points.y[here],
            mode="markers",
            name=label(name),
            marker={"color": colors[name], "opacity": 0.8, "size": 7 if len(points) < 1000 else 4},
            text=np.array(hover)[here],
            hovertemplate="%{text}<extra></extra>",
        )
    frame(figure, palette, height=560, legend=True)
    figure.update_layout(legend={"itemsizing": "constant", "y": -0.02, "yanchor": "top"})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure
