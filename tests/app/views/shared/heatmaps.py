"""A heatmap of two rows and three columns."""

import numpy as np
import plotly.graph_objects as go

from app.views.shared.heatmap import cell_heatmap, ratio_axis
from app.views.shared.theme import LIGHT


def cells(values_RC: np.ndarray) -> go.Figure:
    hover_RC = np.full(values_RC.shape, "cell")
    return cell_heatmap(
        values_RC,
        LIGHT,
        rows=["a", "b"],
        columns=["0", "1", "2"],
        hover_RC=hover_RC,
        coloraxis=ratio_axis(LIGHT, limit=2, title="lift"),
        height=300,
    )
