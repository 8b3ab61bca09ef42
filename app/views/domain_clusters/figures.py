"""Maps of points: those that are routed similarly lie together. P = points."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.views.shared.theme import Palette, domain_colors, frame, literal, scale

NOISE = -1
CLUSTER_COLORS = (
    "#4477aa",
    "#e3596b",
    "#2a8c3f",
    "#c4a935",
    "#b0458a",
    "#4fb3d4",
    "#8c6d46",
    "#7a5fd0",
)


def domain_map(points: pd.DataFrame, hover: Sequence[str], palette: Palette) -> go.Figure:
    names = list(points.domain.unique())
    colors = domain_colors(names, palette)
    figure = go.Figure()
    for name in sorted(names, key=list(colors).index):
        here = (points.domain == name).to_numpy()
        _add(figure, points[here], np.array(hover)[here], colors[name], name=literal(name))
    return _map_frame(figure, palette, legend=True)


def cluster_map(points: pd.DataFrame, hover: Sequence[str], palette: Palette) -> go.Figure:
    """Clusters carry their number on the map instead of a legend; grey is left out."""
    figure = go.Figure()
    for cluster, here in points.assign(hover=list(hover)).groupby("cluster"):
        noise = cluster == NOISE
        color = (
            palette.neutral if noise else CLUSTER_COLORS[int(str(cluster)) % len(CLUSTER_COLORS)]
        )
        _add(figure, here, here.hover, color, name=str(cluster), faint=noise)
        if not noise:
            figure.add_annotation(
                **_middle(here),
                text=f"<b>{cluster}</b>",
                showarrow=False,
                font={"size": 14, "color": palette.text},
                bgcolor=palette.ground,
                opacity=0.85,
            )
    return _map_frame(figure, palette)


def value_map(
    points: pd.DataFrame,
    values_P: np.ndarray,
    hover: Sequence[str],
    palette: Palette,
    *,
    title: str,
) -> go.Figure:
    """Colour is an amount from 0; the largest lie on top."""
    order = np.argsort(values_P, kind="stable")
    figure = go.Figure()
    _add(figure, points.iloc[order], np.array(hover)[order], palette.accent, name="")
    figure.data[0].marker.update(
        color=values_P[order],
        colorscale=scale(palette.sequential[1:]),
        cmin=0,
        cmax=max(float(values_P.max()), 1e-9),
        colorbar={"title": {"text": title, "side": "top"}, "thickness": 10, "outlinewidth": 0},
    )
    return _map_frame(figure, palette)


def inside_selection(points: pd.DataFrame, selection: dict) -> np.ndarray:
    """Which points lie in the boxes and lassos of a chart's selection [P]."""
    x_P, y_P = points.x.to_numpy(), points.y.to_numpy()
    inside_P = np.zeros(len(points), dtype=bool)
    for box in selection.get("box", []):
        (x0, x1), (y0, y1) = sorted(box["x"]), sorted(box["y"])
        inside_P |= (x_P >= x0) & (x_P <= x1) & (y_P >= y0) & (y_P <= y1)
    for lasso in selection.get("lasso", []):
        inside_P |= _inside_polygon(x_P, y_P, np.array(lasso["x"]), np.array(lasso["y"]))
    return inside_P


def _middle(points: pd.DataFrame) -> dict[str, float]:
    """The point nearest to the medians: a label never stands in a gap."""
    away = (points.x - points.x.median()) ** 2 + (points.y - points.y.median()) ** 2
    place = int(away.argmin())
    return {"x": points.x.iloc[place], "y": points.y.iloc[place]}


def _inside_polygon(
    x_P: np.ndarray, y_P: np.ndarray, corner_x: np.ndarray, corner_y: np.ndarray
) -> np.ndarray:
    """Even-odd rule: edges crossed by a ray to the right."""
    inside_P = np.zeros(len(x_P), dtype=bool)
    for x0, y0, x1, y1 in zip(
        corner_x, corner_y, np.roll(corner_x, -1), np.roll(corner_y, -1), strict=True
    ):
        if y0 == y1:
            continue
        crosses_P = (y0 > y_P) != (y1 > y_P)
        inside_P ^= crosses_P & (x_P < (x1 - x0) * (y_P - y0) / (y1 - y0) + x0)
    return inside_P


def _add(
    figure: go.Figure,
    points: pd.DataFrame,
    hover: Iterable[str],
    color: str,
    *,
    name: str,
    faint: bool = False,
) -> None:
    figure.add_trace(
        go.Scatter(  # drawn as SVG: WebGL of Plotly needs `eval`, which no page may use
            x=points.x,
            y=points.y,
            mode="markers",
            name=name,
            marker={"color": color, "opacity": 0.35 if faint else 0.8},
            text=list(hover),
            hovertemplate="%{text}<extra></extra>",
        )
    )


def _map_frame(figure: go.Figure, palette: Palette, *, legend: bool = False) -> go.Figure:
    num_points = sum(len(trace.x) for trace in figure.data)
    figure.update_traces(marker={"size": 7 if num_points < 1000 else 4})
    frame(figure, palette, height=560, legend=legend)
    figure.update_layout(
        dragmode="lasso", legend={"itemsizing": "constant", "y": -0.02, "yanchor": "top"}
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure
