"""The answer to one question: what a page draws, a report prints, a comparison sets side by side.

Every page has a `panels.py` with a function `panels(subject, palette, ...)` that returns its panels
for a choice of its controls. A panel knows nothing of Streamlit; drawing.py puts
it on a page.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

# By a mark's x and y the columns of a row that says what it is: layer_id, expert_id, domain, ...
Names = Callable[[float, float], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    name: str  # of its file; on the page the key of its chart
    table: pd.DataFrame  # what the figure shows, as it leaves
    title: str = ""  # empty where the question of the page is enough
    answer: str = ""  # the sentence that says what is seen
    figure: go.Figure | None = None
    alt: str = ""  # the figure for who cannot see it
    names: Names | None = None  # what a mark of the figure leads to
    note: str = ""  # how to read it
    preview: pd.DataFrame | None = None  # the rows worth seeing beside the figure
    preview_title: str = ""


def of_layers(x: float, y: float) -> dict[str, int]:
    """Of a figure with layers on its horizontal axis."""
    return {"layer_id": round(x)}


def of_experts(order_LE: np.ndarray, x: float, y: float) -> dict[str, int]:
    """Of a heatmap of layers by experts in this order."""
    return {"layer_id": int(y), "expert_id": int(order_LE[int(y), int(x)])}


def of_domains(domains: Sequence[str], x: float, y: float) -> dict[str, str]:
    """Of a figure with a row for each of these domains."""
    return {"domain": domains[round(y)]}
